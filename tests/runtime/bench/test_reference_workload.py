"""The reference workload: which intervals it excludes, and which intervals it keeps."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.results import made

from orilla.runtime.bench import reference_workload, runner
from orilla.runtime.bench.reference_workload import (
    ExcludedInterval,
    Interference,
    ReferenceWorkload,
    known_ns,
    outside,
    remember,
)
from orilla.runtime.bench.result import Result, merge
from orilla.runtime.bench.runner import Plan, run
from orilla.runtime.bench.verdict import compare
from orilla.runtime.model import Model


def played(monkeypatch, step_ns, seconds=10.0, known=None):
    """Return a workload that ran continuously on a simulated clock. A step at time `at_s` takes `step_ns(at_s)`."""
    now = [0.0]
    monkeypatch.setattr(reference_workload, "step_ns", lambda steps: float(step_ns(now[0])))
    stick = ReferenceWorkload(known)
    while now[0] < seconds:
        stick.read(now[0])
        now[0] += 0.01
    return stick


def test_a_quiet_machine_sets_nothing_aside(monkeypatch):
    rng = np.random.default_rng(0)
    stick = played(monkeypatch, lambda at: 25 * np.exp(rng.normal(0, 0.03)))
    assert stick.excluded() == []
    assert stick.quiet_s() > 9.5


def test_a_neighbour_is_set_aside(monkeypatch):
    """From the third to the fifth second, another process uses the other hardware thread of the core."""
    stick = played(monkeypatch, lambda at: 40 if 3 <= at < 5 else 25)
    (interval,) = stick.excluded()
    assert interval.from_s == pytest.approx(3, abs=0.3)
    assert interval.to_s == pytest.approx(5, abs=0.3)
    assert stick.summary().seconds == pytest.approx(2, abs=0.4)
    assert stick.summary().slowdown == pytest.approx(1.6)
    assert stick.quiet_s() == pytest.approx(8, abs=0.7)


def test_a_neighbour_that_stays_is_known_by_the_runs_before(monkeypatch):
    assert played(monkeypatch, lambda at: 40).excluded() == []
    (interval,) = played(monkeypatch, lambda at: 40, known=25).excluded()
    assert interval.from_s == 0
    assert interval.to_s > 9
    assert played(monkeypatch, lambda at: 28, known=25).excluded() == [], "a clock may be a little slower today"


def test_the_best_is_remembered():
    assert known_ns() is None
    for step, best in ((30.0, 30.0), (25.0, 25.0), (40.0, 25.0)):
        remember(step)
        assert known_ns() == best


def test_what_was_remembered_too_long_ago_is_forgotten(monkeypatch):
    remember(10.0)
    monkeypatch.setattr(reference_workload.time, "time", lambda real=reference_workload.time.time: real() + 31 * 86400)
    assert known_ns() is None
    remember(25.0)
    assert known_ns() == 25.0


def test_another_governor_is_another_machine(monkeypatch):
    remember(10.0)
    real = reference_workload.detect()
    monkeypatch.setattr(reference_workload, "detect", lambda: replace(real, governor="powersave"))
    assert known_ns() is None
    remember(20.0)
    monkeypatch.setattr(reference_workload, "detect", lambda: real)
    assert known_ns() == 10.0


def test_what_cannot_be_remembered_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "file"))
    remember(30.0)
    assert known_ns() is None
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    remember(30.0)
    (tmp_path / "cache" / "reference_workload.json").write_text("[1")
    assert known_ns() is None


def test_times_outside_of_the_stretches():
    excluded = [ExcludedInterval(1.0, 2.0), ExcludedInterval(4.0, 5.0)]
    assert outside([0.5, 1.0, 1.9, 2.0, 3.0, 4.5, 5.0], excluded) == [True, False, False, True, True, False, True]


def slowed(at):
    return 40 if 0.4 < at % 1.0 < 0.9 else 25


def test_a_run_waits_for_quiet_and_tells_what_it_set_aside(monkeypatch):
    """Another process disturbs half of the time, so a measurement of two seconds takes about four."""
    at = [0.0]
    real = ReferenceWorkload.read

    def read(self, at_s):
        at[0] = at_s
        real(self, at_s)

    monkeypatch.setattr(ReferenceWorkload, "read", read)
    monkeypatch.setattr(reference_workload, "step_ns", lambda steps: float(slowed(at[0])))
    with Model.open("probe", threads=1) as model:
        measured = run(model, Plan(seconds=2.0))
    assert 2.8 < measured.seconds < 6.5
    assert measured.excluded
    assert measured.main.count == len(measured.undisturbed("infer")) < len(measured.samples_ms["infer"])
    assert any("were excluded: the machine was up to" in note for note in measured.notes)
    assert known_ns() == 25


def test_a_clock_that_falls_is_no_neighbour(monkeypatch):
    """If the clock frequency drops, as on a throttled board, the result is not valid, but nothing is excluded."""
    from orilla.runtime.bench import monitor

    at = [0.0]
    real = ReferenceWorkload.read

    def read(self, at_s):
        at[0] = at_s
        real(self, at_s)

    monkeypatch.setattr(ReferenceWorkload, "read", read)
    monkeypatch.setattr(reference_workload, "step_ns", lambda steps: 25.0 if at[0] < 1.5 else 40.0)
    monkeypatch.setattr(monitor, "mhz", lambda root: 1500.0 if at[0] < 1.5 else 1000.0)
    monkeypatch.setattr(runner, "PATIENCE", 1.0)
    with Model.open("probe", threads=1) as model:
        measured = run(model, Plan(seconds=3.0))
    assert measured.excluded == ()
    assert any(reason.startswith("the clock frequency of the processor dropped") for reason in measured.invalid)


def test_a_machine_that_is_never_quiet_is_not_valid(monkeypatch):
    remember(10.0)
    monkeypatch.setattr(reference_workload, "step_ns", lambda steps: 25.0)
    with Model.open("probe", threads=1) as model:
        measured = run(model, Plan(seconds=1.5))
    assert not measured.valid
    assert measured.seconds == pytest.approx(runner.PATIENCE * 1.5, rel=0.1)
    assert "the machine was up to 2.50 times slower, according to the reference workload" in measured.invalid[0]
    assert measured.excluded == ()
    assert measured.main.count == len(measured.samples_ms["infer"])


def test_a_comparison_notes_another_speed_of_the_machine():
    quiet, slow = (made(interference=Interference(step, step, None, 0.0)) for step in (25.0, 40.0))
    assert "the machine itself was 1.60 times slower in B" in compare([quiet], [slow]).notes
    assert not compare([quiet], [quiet]).notes


def test_what_is_set_aside_stays_so_when_runs_are_merged():
    interval: Result = made(excluded=(ExcludedInterval(1.0, 2.0),))
    merged = merge([interval, interval])
    assert [(part.from_s, part.to_s) for part in merged.excluded] == [
        (1.0, 2.0),
        (1.0 + interval.seconds, 2.0 + interval.seconds),
    ]
    assert merged.main.count == 2 * len(interval.undisturbed("infer"))


def test_its_step_is_the_same_whatever_its_length(real_workload):
    steps = sorted(reference_workload.step_ns(4000) for _ in range(5))
    assert steps[-2] < 3 * steps[0]  # A different program may interrupt one of the measurements.
    assert reference_workload.WORK_MS * 1e6 / min(steps) > 100

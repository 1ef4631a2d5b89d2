"""`orilla bench run`: every scenario with a real engine, and the failures that can occur."""

import json
import time

import numpy as np
import pytest

from orilla.devices.clocks import Usage
from orilla.devices.errors import DataError
from orilla.runtime.bench import monitor, result, runner, scenario
from orilla.runtime.bench.monitor import Monitor, Second
from orilla.runtime.bench.runner import Plan, run
from orilla.runtime.bench.soak import Soaking
from orilla.runtime.bench.warmup import Steadiness
from orilla.runtime.cli import main
from orilla.runtime.engines.litert import LiteRTSession
from orilla.runtime.model import Model

VALID_OR_NOT = (0, 3)
"""Exit codes of a measurement on a quiet and on a busy machine."""


def bench(capsys, *words):
    code = main(["bench", "run", *words, "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else None, captured.err


@pytest.mark.parametrize(
    ("name", "stage", "frames"),
    [("single-stream", "infer", 1), ("multi-stream", "query", 8), ("offline", "sample", None), ("loop", "age", 1)],
)
def test_scenarios(capsys, tmp_path, name, stage, frames):
    out = tmp_path / "r.json"
    code, document, _ = bench(capsys, "probe", "--scenario", name, "--seconds", "1", "--out", str(out))
    assert code in VALID_OR_NOT
    message, stored = document["result"], result.read(out)
    assert message["summary"][stage]["count"] == stored.main.count == len(stored.at_s) > 5
    assert stored.complete
    assert stored.subject.scenario == name
    assert stored.subject.streams == (frames or stored.subject.streams)
    assert 0.8 < stored.seconds < 2.5
    assert stored.at_s == sorted(stored.at_s)
    assert stored.cold_start.start_ms > stored.cold_start.load_ms > 0
    assert stored.cold_start.memory_mib > 1
    assert stored.cpu_ms > 0
    assert stored.warm_up.count > 0
    # On a disturbed machine, one second may give too few effective samples for a median.
    median = stored.main.at(50)
    assert median is None or median.ms == pytest.approx(np.median(stored.samples_ms[stage]), rel=0.1)
    assert not stored.excluded
    if name == "loop":
        assert {"capture", "prepare", "infer", "decode", "age"} <= set(stored.samples_ms)
        assert stored.per_second == pytest.approx(30, rel=0.2)
        assert stored.subject.source == "golden frames"
    else:
        assert stored.per_second == pytest.approx(stored.main.count * stored.subject.streams / stored.seconds, rel=0.01)


def test_of_texts(capsys):
    code, document, _ = bench(capsys, "sentiment", "--scenario", "loop", "--seconds", "1")
    assert code in VALID_OR_NOT
    assert document["result"]["summary"]["age"]["count"] > 100


def test_the_timeline_tells_of_the_machine():
    with Monitor() as watch:
        time.sleep(1.3)
    assert len(watch.seconds) >= 1
    assert watch.seconds[0].own_cores < 0.5
    assert watch.seconds[0].other_cores >= 0


def test_accuracy_in_the_same_command(capsys, picture_bundle, animals):
    code, document, _ = bench(capsys, str(picture_bundle), "--seconds", "0.5", "--data", str(animals))
    measured = document["result"]["accuracy"]
    assert code in VALID_OR_NOT
    assert measured["count"] == 16
    assert measured["metric"] == "accuracy"
    assert measured["interval"][0] <= measured["value"] <= measured["interval"][1]
    assert measured["drop"] is not None


def test_what_was_taken_is_kept_where_it_is_interrupted(capsys, tmp_path, monkeypatch):
    real, rng = scenario.SampleSet.add, np.random.default_rng(0)

    def interrupted(self, *query, infer):
        """Return artificial times, because a few milliseconds on a real machine often give few effective samples."""
        if self.frames == 3000:
            raise KeyboardInterrupt
        real(self, *query, infer=rng.uniform(1.0, 1.1))

    monkeypatch.setattr(scenario.SampleSet, "add", interrupted)
    out = tmp_path / "r.json"
    code, _, _ = bench(capsys, "probe", "--seconds", "60", "--out", str(out))
    assert code == 130
    stored = result.read(out)
    assert not stored.complete
    assert any(note.startswith("interrupted after") for note in stored.notes)
    assert stored.main.count == len(stored.samples_ms["infer"]) > 100
    assert main(["bench", "compare", str(out), str(out)]) in VALID_OR_NOT
    assert "NOT VALID: A: it was interrupted" in capsys.readouterr().out


def test_interrupted_while_accuracy_is_measured(capsys, tmp_path, monkeypatch, picture_bundle, animals):
    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "accuracy", interrupted)
    out = tmp_path / "r.json"
    words = ["bench", "run", str(picture_bundle), "--seconds", "0.5", "--data", str(animals), "--out", str(out)]
    assert main(words) == 130
    stored = result.read(out)
    assert stored.accuracy is None
    assert "interrupted during the accuracy measurement" in stored.notes
    assert stored.main.count > 10


def test_interrupted_between_two_stages_of_a_frame(monkeypatch):
    sample_set = scenario.SampleSet()
    for index in range(10):
        sample_set.add(index, 1, prepare=1.0, infer=2.0)
    sample_set.times["prepare"].append(1.0)
    assert sample_set.complete() == 10


def test_too_many_samples_are_thinned(monkeypatch):
    monkeypatch.setattr(scenario, "MAX_SAMPLES", 1000)
    with Model.open("probe", threads=1) as model:
        measured = run(model, Plan(seconds=1.0))
    assert 400 < len(measured.at_s) < 1000
    assert any("samples was stored" in note for note in measured.notes)
    assert measured.per_second == pytest.approx(1e3 / np.median(measured.samples_ms["infer"]), rel=0.5)


def test_the_folder_that_is_named_is_measured(tmp_path, monkeypatch, capsys):
    """`./road` means the folder `road`, not the shipped bundle of the same name."""
    from orilla.runtime.bench import runner as measuring
    from orilla.runtime.bundle import bundle as bundles
    from orilla.runtime.bundle.bundle import Bundle

    original = Bundle.open("probe")
    bundles.write(tmp_path / "road", original.manifest, {name: original.read(name) for name in original.manifest.files})
    monkeypatch.chdir(tmp_path)
    asked, real = [], measuring.measure_cold_start
    monkeypatch.setattr(measuring, "measure_cold_start", lambda *given: asked.append(given[0]) or real(*given))
    assert main(["bench", "run", "./road", "--seconds", "0.5"]) in VALID_OR_NOT
    assert asked == [str(tmp_path / "road")]


def test_a_history_that_cannot_be_read_is_refused_first(tmp_path, capsys):
    (tmp_path / "foreign.json").write_text("{}")
    assert main(["bench", "run", "probe", "--seconds", "9", "--history", str(tmp_path)]) == 2
    assert "foreign.json is not a result" in capsys.readouterr().err


def test_interrupted_before_the_first_sample(capsys, tmp_path, monkeypatch):
    def interrupted(self, prepared):
        raise KeyboardInterrupt

    monkeypatch.setattr(LiteRTSession, "run", interrupted)
    assert main(["bench", "run", "probe", "--out", str(tmp_path / "r.json")]) == 130
    assert not list(tmp_path.iterdir())


def test_a_clock_that_steps_is_told_and_changes_nothing(monkeypatch):
    real, began = time.time, time.perf_counter()
    with Model.open("probe", threads=1) as model:
        monkeypatch.setattr(runner.time, "time", lambda: real() + (3600 if time.perf_counter() - began > 1.5 else 0))
        measured = run(model, Plan(seconds=2.0))
    assert any("the wall clock stepped by +3600" in note for note in measured.notes)
    assert 1.9 < measured.seconds < 2.5
    assert measured.main.max_ms < 2000


def test_a_run_that_others_disturb_is_not_valid(monkeypatch):
    """A simulated process uses half of the machine's second core."""
    busy = [0.0]

    def usage(root):
        busy[0] = 1.6 * time.perf_counter()
        return Usage(busy[0], 0.0, 2)

    monkeypatch.setattr(monitor, "usage", usage)
    with Model.open("probe", threads=1) as model:
        measured = run(model, Plan(seconds=2.2))
    assert not measured.valid
    assert "other processes used" in measured.invalid[0]
    assert all(second.disturbed for second in measured.timeline)


def test_a_hypervisor_that_takes_time_disturbs(monkeypatch):
    monkeypatch.setattr(monitor, "usage", lambda root: Usage(time.process_time(), 0.2 * time.perf_counter(), 2))
    with Model.open("probe", threads=1) as model:
        measured = run(model, Plan(seconds=1.2))
    assert "the hypervisor took 0.2" in measured.invalid[0]


def test_throttling_is_told(monkeypatch):
    measured = iter([(), *[("throttled now",)] * 10])
    monkeypatch.setattr(monitor, "throttled", lambda root: next(measured))
    with Model.open("probe", threads=1) as model:
        assert "the machine was throttled: throttled now" in run(model, Plan(seconds=0.5)).invalid


def test_a_trend_within_the_run_is_told(monkeypatch):
    real, began = LiteRTSession.run, time.perf_counter()

    def slower(self, prepared):
        output = real(self, prepared)
        time.sleep(0.002 if time.perf_counter() - began < 3.0 else 0.003)
        return output

    monkeypatch.setattr(LiteRTSession, "run", slower)
    with Model.open("probe", threads=1) as model:
        began = time.perf_counter()
        measured = run(model, Plan(seconds=5.0))
    assert any(reason.startswith("p50 changed from 2.") for reason in measured.invalid)


def test_warm_up_ends_when_the_times_are_steady():
    steadiness, now = Steadiness(), 0.0
    for index in range(2000):
        time_ms = 5.0 + 5.0 * np.exp(-index / 100)
        now += time_ms / 1e3
        steadiness.add(time_ms, now)
        if steadiness.steady:
            break
    assert 300 < steadiness.count < 700
    assert steadiness.summary().first_ms == 10.0
    never = Steadiness()
    for index in range(500):
        never.add(5.0 * 1.01**index, 0.05 * index)
        assert not never.steady


def seconds(temperatures):
    return [Second(float(at), temperature_c=hot) for at, hot in enumerate(temperatures)]


def test_a_soak_ends_with_the_heat():
    """The temperature of the board rises by 30 degrees. The soak ends when the temperature is steady."""
    heat = 40 + 30 * (1 - np.exp(-np.arange(1800) / 200))
    soaking = Soaking(seconds(heat))
    at_s, times = [], []
    for at in np.arange(0, 1800, 0.1):
        at_s.append(float(at))
        times.append(10.0 + 5.0 * (heat[int(at)] > 60))
        if soaking.add(at_s[-1], times[-1]):
            break
    message = soaking.summary(at_s, times)
    assert message.steady
    assert 500 < message.steady_after_s < 1200
    assert message.slowdown == pytest.approx(1.5)
    assert message.burst.at(50).ms == 10.0
    assert message.judged_by.startswith("temperature")


def test_a_soak_without_a_sensor_goes_by_the_times():
    soaking = Soaking(seconds([None] * 300))
    at_s = [0.1 * index for index in range(2000)]
    settled = [soaking.add(at, 5.0) for at in at_s]
    assert settled.index(True) < 1300
    assert "no temperature sensor" in soaking.summary(at_s, [5.0] * 2000).judged_by


def test_a_soak_of_a_second(capsys):
    code, document, _ = bench(capsys, "probe", "--soak", "--seconds", "1")
    assert code in VALID_OR_NOT
    assert document["result"]["soak"]["steady"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run"], "the following arguments are required: bundle"),
        (["run", "probe", "--scenario", "server"], "unknown scenario 'server'"),
        (["run", "probe", "--seconds", "0"], "--seconds 0: must be 0.5 to 86400"),
        (["run", "probe", "--seconds", "nan"], "--seconds nan"),
        (["run", "probe", "--streams", "4"], "--streams needs --scenario multi-stream"),
        (["run", "probe", "--scenario", "multi-stream", "--streams", "0"], "--streams 0"),
        (["run", "probe", "--source", "scenes"], "--source and --policy need --scenario loop"),
        (["run", "probe", "--out", "missing/r.json"], "does not exist"),
        (["run", "probe", "--variant", "other"], "unknown variant 'other'"),
        (["run", "probe", "--margin", "5"], "unrecognized arguments: --margin 5"),
        (["run", "probe", "--wheels", "."], "--wheels needs --host"),
        (["compare", "a", "b", "--seconds", "5"], "unrecognized arguments: --seconds 5"),
        (["compare", "a"], "the following arguments are required: B"),
        ([], "the following arguments are required"),
        (["estimate", "probe", "--device", "pi4", "--out", "a"], "unrecognized arguments: --out a"),
        (["estimate", "probe"], "the following arguments are required: --device"),
        (["run", "probe", "--scenario", "loop", "--source", "missing.mp4"], "missing.mp4"),
    ],
)
def test_what_is_refused(capsys, words, message):
    assert main(["bench", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 3}, "has schema version 3, but this Orilla reads version 2"),
        ({"samples_ms": {"infer": []}}, "contains no samples: measure again"),
        ({"subject": 5}, "is not a result of orilla bench"),
        ({"summary": {}}, "its samples are incomplete or invalid"),
        ({"at_s": [0.1]}, "its samples are incomplete or invalid"),
    ],
)
def test_files_that_are_no_results(tmp_path, capsys, change, message):
    out = tmp_path / "r.json"
    assert main(["bench", "run", "probe", "--seconds", "0.5", "--out", str(out)]) in VALID_OR_NOT
    out.write_text(json.dumps(json.loads(out.read_text()) | change))
    with pytest.raises(DataError, match=message):
        result.read(out)
    assert main(["bench", "compare", str(out), str(out)]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_cut_off(tmp_path):
    (tmp_path / "r.json").write_text('{"schema": 1, "crea')
    with pytest.raises(DataError, match="not a result"):
        result.read(tmp_path / "r.json")
    with pytest.raises(DataError, match="cannot read"):
        result.read(tmp_path / "missing.json")
    with pytest.raises(DataError, match="contains no results"):
        result.read_all(tmp_path / "..") if not list((tmp_path / "..").glob("*.json")) else result.read_all(tmp_path)


def test_a_cold_process_that_dies_is_told(monkeypatch, capsys):
    from orilla.runtime.bench import cold_start

    monkeypatch.setattr(cold_start.sys, "executable", "/bin/false")
    assert main(["bench", "run", "probe", "--seconds", "0.5"]) == 2
    assert "failed to start" in capsys.readouterr().err

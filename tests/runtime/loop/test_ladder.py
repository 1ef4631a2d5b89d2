"""The degradation ladder: when the loop changes its rung, how it loads rungs, and what users see."""

import argparse
import json
import threading
import time
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from helpers import command, factories, ticks
from helpers.bundles import BUNDLES

import orilla.runtime
from orilla.devices.errors import ConfigError, EngineError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.rungs import rungs_of
from orilla.runtime.commands import ladder_options, live
from orilla.runtime.frame import Frame
from orilla.runtime.loop.guard import Guard
from orilla.runtime.loop.ladder import FAILED_S, FIRST_FRAMES, RETRY_S, Climber, Ladder
from orilla.runtime.loop.ladder_stages import LadderStages, OpenRung, Rung
from orilla.runtime.loop.stages import RungInput, StageTimer
from orilla.runtime.loop.stats import LoopStats

RATE_HZ = 30.0
COSTS_MS = (20.0, 10.0, 3.0)
"""Time of a frame on each rung of the simulation, without load."""


class Simulation:
    """A climber that receives frames at `RATE_HZ`. The load multiplies the time of each frame."""

    def __init__(self, **settings):
        self.climber = Climber(Ladder(33.0, **settings))
        self.now_ns = 1_000_000_000
        self.steps = []

    def run(self, seconds, load=1.0, spike_ms=0.0):
        began_ns = self.now_ns
        for number in range(round(seconds * RATE_HZ)):
            work_ms = load * COSTS_MS[self.climber.rung] + (spike_ms if number % 20 == 0 else 0.0)
            step = self.climber.observe(self.now_ns, work_ms + 2.0, work_ms)
            if 0 <= self.climber.rung + step < len(COSTS_MS) and step:
                self.climber.moved(step, self.now_ns)
                self.steps.append(((self.now_ns - began_ns) / 1e9, self.climber.rung))
            self.now_ns += int(1e9 / RATE_HZ)
        steps, self.steps = self.steps, []
        return steps


def test_the_loop_steps_down_within_a_second_and_back_after_the_load():
    simulation = Simulation()
    assert simulation.run(10) == []
    ((down_s, rung),) = simulation.run(20, load=2)
    assert (rung, down_s < 0.6) == (1, True)
    ((up_s, rung),) = simulation.run(10)
    assert rung == 0
    assert 3 <= up_s < 5


def test_several_rungs_are_climbed_one_by_one():
    simulation = Simulation()
    simulation.run(2)
    steps = simulation.run(20, load=5)
    assert [rung for _, rung in steps] == [1, 2]
    assert steps[-1][0] < 1
    steps = simulation.run(10)
    assert [rung for _, rung in steps] == [1, 0]


def test_single_late_frames_do_not_matter():
    assert Simulation().run(60, spike_ms=500.0) == []


def test_the_loop_stays_on_the_last_rung_if_that_is_too_slow():
    simulation = Simulation()
    assert [rung for _, rung in simulation.run(30, load=20)] == [1, 2]


def test_a_better_rung_is_tried_ever_more_rarely_while_the_load_stays():
    simulation = Simulation()
    times = [at_s for at_s, rung in simulation.run(1000, load=2) if rung == 0]
    waits = np.diff([0.0, *times])
    assert RETRY_S < waits[0] < RETRY_S + 10
    assert all(second > 1.5 * first for first, second in pairwise(waits))


def test_an_attempt_after_a_small_improvement_fails_once():
    simulation = Simulation()
    simulation.run(5, load=3)
    steps = simulation.run(50, load=2)
    assert [rung for _, rung in steps] == [0, 1]
    assert steps[1][0] - steps[0][0] < 1
    assert FAILED_S > 1


def test_percentiles_of_a_slow_camera_need_ten_frames():
    climber = Climber(Ladder(33.0))
    steps = [climber.observe((1 + number) * 10**9, 100.0, 100.0) for number in range(FIRST_FRAMES + 10)]
    assert steps == [0] * (FIRST_FRAMES + 9) + [1]


def test_slow_first_frames_of_a_loop_are_not_counted():
    climber = Climber(Ladder(33.0))
    slow = [climber.observe((1 + number) * 10**7, 100.0, 100.0) for number in range(FIRST_FRAMES)]
    fast = [climber.observe((20 + number) * 10**7, 20.0, 20.0) for number in range(100)]
    assert not any(slow + fast)


@pytest.mark.parametrize("settings", [{"deadline_ms": 0}, {"window_s": 0.0}, {"hold_s": -1}, {"deadline_ms": True}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ConfigError, match="must be a number from"):
        Ladder(**{"deadline_ms": 50, **settings})


def test_rungs_must_be_names():
    with pytest.raises(ConfigError, match="must be a tuple of names"):
        Ladder(50, "small.orilla")


class FakeStages:
    """Stages of a rung that answer with their name."""

    def __init__(self, name):
        self.name, self.closed, self.finished = name, threading.Event(), []

    def prepare(self, raw):
        return f"{raw} for {self.name}"

    def compute(self, prepared, raw, timer):
        timer.lap("infer")
        return prepared

    def finish(self, result, timer):
        self.finished.append(result)
        return result


def opened(stages):
    return OpenRung(stages, stages.closed.set)


def laddered(openers, deadline_ms=10.0):
    first = FakeStages("a")
    rungs = [Rung(name, opener) for name, opener in zip("abc", [None, *openers], strict=False)]
    stages = LadderStages(Ladder(deadline_ms), rungs, first, clock=lambda: 10**12)
    reports = []
    stages.report = reports.append
    return stages, first, reports


def answer(stages, age_ms=50.0):
    timer = StageTimer()
    timer.frame_ns = 10**12 - int(1e6 * age_ms)
    prepared = stages.prepare("frame")
    return stages.answer(prepared, "frame", timer), timer.rung


def answer_until(stages, rung):
    """Answer late frames until a rung answers. Its model is loaded in a thread."""
    ends_s = time.monotonic() + 30
    while (found := answer(stages))[1] != rung:
        assert time.monotonic() < ends_s
        time.sleep(0.001)
    return found


def test_the_next_rung_is_loaded_beside_the_loop():
    second, may_load = FakeStages("b"), threading.Event()

    def load():
        assert may_load.wait(30)
        return opened(second)

    stages, first, reports = laddered([load])
    assert {answer(stages)[1] for _ in range(30)} == {"a"}
    may_load.set()
    assert answer_until(stages, "b") == ("frame for b", "b")
    assert first.finished[-1] == "frame for b", "objects are tracked by the first rung"
    assert reports == ["stepped down to b, rung 2 of 2: answers are 50 ms old (p90), and the deadline is 10 ms"]
    stages.close()
    assert second.closed.is_set()
    assert not first.closed.is_set()


def test_a_frame_is_answered_by_the_rung_that_prepared_it():
    stages, *_ = laddered([lambda: opened(FakeStages("b"))])
    early = stages.prepare("early")
    answer_until(stages, "b")
    timer = StageTimer()
    assert (stages.answer(early, "early", timer), timer.rung) == ("early for a", "a")


def test_the_loop_goes_on_if_a_rung_cannot_be_loaded():
    def fail():
        msg = "no memory"
        raise EngineError(msg)

    second = FakeStages("b")
    stages, _, reports = laddered([lambda: opened(second), fail])
    answer_until(stages, "b")
    while len(reports) < 2:
        answer(stages)
    assert reports[1] == "cannot load c: no memory; the loop continues without this rung and the next ones"
    assert stages.names == ("a", "b")
    assert answer(stages)[1] == "b"


def test_a_rung_that_is_loaded_after_the_end_is_closed():
    second, may_load = FakeStages("b"), threading.Event()
    stages, *_ = laddered([lambda: (may_load.wait(30), opened(second))[1]])
    answer(stages)
    stages.close()
    may_load.set()
    assert second.closed.wait(30)


def test_inputs_of_another_size_are_not_compared_with_the_calibration_data(monkeypatch):
    guard = Guard(("unfamiliar",))
    guard._familiar = type("Always", (), {"is_far": lambda self, image: True})()
    image = np.full((90, 120, 3), 128, np.uint8)
    image[::2, ::3] = 0
    assert guard.doubts(image, 0, RungInput(0, image, comparable=True)) == ("unfamiliar",)
    assert guard.doubts(image, 0, RungInput(1, image, comparable=False)) == ()


class LateCamera:
    """A camera whose images are as old as the machine. It ends when `enough` is set."""

    live = True
    rate_hz = None

    def __init__(self):
        self.enough, self._index, self._ends_s = threading.Event(), 0, time.monotonic() + 60

    def read(self):
        if self.enough.is_set() or time.monotonic() > self._ends_s:
            return None
        self._index += 1
        time.sleep(0.001)
        return Frame(self._index - 1, factories.picture(), 1_000_000 * self._index)

    def close(self):
        pass


@pytest.mark.parametrize("rung", ["onnx_wi8_ai8", "copy.orilla", "copy.orilla:litert_fp16"])
def test_a_model_uses_other_variants_and_bundles(tiny_bundle, tmp_path, monkeypatch, rung):
    monkeypatch.chdir(tmp_path)
    Path("copy.orilla").write_bytes(Path(tiny_bundle).read_bytes())
    camera, events, rungs = LateCamera(), [], []
    with orilla.runtime.open(tiny_bundle, variant="litert_fp32") as model:
        with model.stream(
            camera, ladder=Ladder(50, (rung,)), on_event=events.append, record="a.rec", guard=False
        ) as stream:
            for tick in stream:
                rungs.append(tick.rung)
                if tick.rung != "litert_fp32":
                    camera.enough.set()
            figures = stream.stats(recent=False)
        assert tick.to_dict()["rung"] == tick.rung
    names = list(dict.fromkeys(rungs))
    default = Bundle.open(tiny_bundle).manifest.default
    assert names[0] == "litert_fp32"
    assert names[1:] == [rung if "copy" not in rung else f"copy/{rung.partition(':')[2] or default}"]
    assert [event.kind for event in events] == ["rung"]
    assert figures.rungs == {name: rungs.count(name) for name in names}
    assert figures.rung == names[-1]
    assert '"kind":"rung"' in Path("a.rec").read_text()


def test_a_ladder_that_cannot_work_is_refused(tiny_bundle, tmp_path):
    with orilla.runtime.open(tiny_bundle, variant="litert_fp32") as model:
        for rungs, message in (
            (("litert_fp23",), "unknown rung 'litert_fp23': did you mean litert_fp32"),
            (("litert_fp32",), "litert_fp32 is given twice"),
            ((str(BUNDLES / "animals.orilla"),), "animals.orilla has the task classify, but tiny.orilla has segment"),
        ):
            with pytest.raises(ConfigError, match=message):
                model.stream(LateCamera(), ladder=Ladder(50, rungs))
        with pytest.raises(ConfigError, match="policy=every: with a ladder, a recorded source needs policy=latest"):
            model.stream([factories.picture()], ladder=Ladder(50, ("onnx_fp32",)))
        with pytest.raises(ConfigError, match="`ladder` needs one model"):
            orilla.runtime.together(road=model).stream("scenes", ladder=Ladder(50))


def test_rungs_are_chosen_by_latency_and_accuracy(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    slow, *others = bundle.manifest.variants[:4]

    def timed(variant, p50_ms, iou):
        latency = msgspec.structs.replace(bundle.manifest.variants[0].latency, p50_ms=p50_ms)
        check = msgspec.structs.replace(variant.check, metrics={**variant.check.metrics, "iou": iou})
        return msgspec.structs.replace(variant, latency=latency, check=check)

    first = timed(slow, 20.0, 0.9)
    rows = [timed(one, *row) for one, row in zip(others, [(10.0, 0.8), (9.0, 0.85), (8.5, 0.84)], strict=True)]
    rows.append(timed(bundle.manifest.variants[4], 3.0, 0.5))
    manifest = msgspec.structs.replace(bundle.manifest, variants=(first, *rows))
    changed = Bundle(bundle.path, manifest, {})
    names = [rung.name for rung in rungs_of(changed, first, (), lambda variant: True)]
    assert names == [first.name, rows[1].name, rows[3].name]
    names = [rung.name for rung in rungs_of(changed, first, (), lambda variant: variant != rows[3])]
    assert names == [first.name, rows[1].name]
    with pytest.raises(ConfigError, match="no variant that was clearly faster"):
        rungs_of(changed, rows[3], (), lambda variant: True)


def test_the_command_line_and_the_configuration_file(tiny_bundle, tmp_path):
    options = ["--variant", "litert_fp32", "--source", "scenes", "--policy", "latest"]
    ladder = ["--ladder", 50, "--rung", "onnx_fp32"]
    config = tmp_path / "rover.toml"
    config.write_text(command.orilla("run", tiny_bundle, *options, *ladder, "--print-config").stdout)
    assert 'ladder = 50.0\nrung = "onnx_fp32"' in config.read_text()
    assert "ladder: litert_fp32, onnx_fp32" in command.orilla("run", config, "--dry-run").stdout
    done = command.orilla("run", config, "--frames", 3, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rungs"] == {"litert_fp32": 3}
    command.refuse("run", tiny_bundle, *options, *ladder[2:], match="--rung onnx_fp32 needs a deadline: give --ladder")


@pytest.mark.parametrize(
    ("ladder", "sources", "message"),
    [(0.0, ["scenes"], "--ladder: deadline_ms=0.0: must be a number"), (50.0, ["a=0", "b=1"], "exactly one --source")],
)
def test_wrong_options_are_refused(ladder, sources, message):
    arguments = argparse.Namespace(ladder=ladder, rung=None, source=sources)
    with pytest.raises(ConfigError, match=message):
        ladder_options.ladder_of(arguments)


def test_statistics_and_metrics_name_the_rung():
    pytest.importorskip("prometheus_client")
    from orilla.runtime.sinks.metrics_table import MetricsTable

    stats = LoopStats()
    registry = MetricsTable(5.0)
    for number, rung in enumerate(["a", "b", "b"]):
        tick = msgspec.structs.replace(ticks.tick(number), rung=rung)
        stats.delivered(tick)
        registry.add(tick)
    figures = stats.figures(10**10, recent=True)
    assert (figures.rungs, figures.rung) == ({"a": 1, "b": 2}, "b")
    assert figures.to_dict()["rungs"] == {"a": 1, "b": 2}
    assert ", rung b, newest" in live.line(figures)
    assert "rung b" in str(live.table(figures).title)
    for name, value in (("a", 0), ("b", 1)):
        assert registry.registry.get_sample_value("orilla_rung", {"source": "", "rung": name}) == value

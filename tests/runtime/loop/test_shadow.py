"""The shadow check: which frames it checks, what it reports, which frames it stores, and that it never blocks."""

import argparse
import threading
import time
from pathlib import Path

import cv2
import msgspec
import pytest
from helpers import command, factories, ticks
from helpers.bundles import BUNDLES

import orilla.runtime
from orilla.devices.errors import ConfigError, EngineError, OutputError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.rungs import exact_variant
from orilla.runtime.commands import live, shadow_options
from orilla.runtime.loop.ladder import Ladder
from orilla.runtime.loop.shadow import MIN_CHECKS, Reference, Shadow, ShadowCheck, WorstFrames
from orilla.runtime.loop.stages import StageTimer
from orilla.runtime.loop.stats import LoopStats

IMAGE = factories.picture()


class Checked:
    """A shadow check with a reference whose agreement the test chooses. The test also controls the clock."""

    def __init__(self, opener=None, *, is_live=False, expected=0.99, **settings):
        self.agreement, self.seen, self.reports = 1.0, [], []
        self.now_ns, self.closed = 0, threading.Event()
        self.reported = threading.Event()
        reference = Reference(self.compare, self.closed.set)
        settings = {"every": 1, **settings}
        self.check = ShadowCheck(
            Shadow(**settings), expected, opener or (lambda: reference), live=is_live, clock=lambda: self.now_ns
        )
        self.check.on_drift = lambda text: (self.reports.append(text), self.reported.set())
        self.check.start()

    def compare(self, prepared, outputs):
        self.seen.append(prepared)
        return self.agreement

    def offer(self, number, infer_ms=1.0, frame_ms=33.0):
        self.now_ns += int(1e6 * frame_ms)
        timer = StageTimer()
        timer.stages_ms["infer"] = infer_ms
        self.check.offer(number, {}, IMAGE, timer)
        return timer.agreement

    def settle(self, count):
        """Wait until this number of frames was checked."""
        ends_s = time.monotonic() + 30
        while len(self.check._recent) < count or not self.check._jobs.empty():
            assert time.monotonic() < ends_s
            time.sleep(0.001)

    def run(self, count, agreement):
        self.agreement = agreement
        for _ in range(count):
            checked = len(self.seen)
            self.offer(checked)
            ends_s = time.monotonic() + 30
            while len(self.seen) == checked or self.check._since_ns != self.now_ns:
                assert time.monotonic() < ends_s
                time.sleep(0)


@pytest.fixture
def checked():
    """Return a function that starts a check."""
    started = []

    def start(*arguments, **settings):
        started.append(Checked(*arguments, **settings))
        return started[-1]

    yield start
    for one in started:
        one.check.close()


def test_every_nth_frame_is_checked(checked):
    one = checked(every=3)
    for number in range(9):
        one.offer(number)
        one.settle((number + 1) // 3)
    assert one.seen == [2, 5, 8]
    assert one.offer(9) == 1.0


def test_a_busy_loop_is_not_checked(checked):
    one = checked(is_live=True)
    one.offer(0, infer_ms=32.0)
    assert one.check._jobs.empty()
    one.offer(1, infer_ms=10.0)
    one.settle(1)
    assert one.seen == [1]


def test_a_slow_check_uses_a_small_share_of_the_time(checked):
    one = checked()
    compare = one.check._opener().agreement

    def slow(prepared, outputs):
        one.now_ns += 50_000_000
        return compare(prepared, outputs)

    one.check._opener = None
    two = checked(lambda: Reference(slow, lambda: None))
    two.check._clock = lambda: one.now_ns
    for number in range(101):
        two.check.offer(number, {}, IMAGE, StageTimer())
        two.settle(len(one.seen))
        one.now_ns += 20_000_000
    assert one.seen[0] == 0
    assert 2 <= len(one.seen) <= 3


def test_offering_never_waits_for_a_check(checked):
    may_end = threading.Event()
    one = checked(lambda: Reference(lambda prepared, outputs: float(may_end.wait(30)), lambda: None))
    began_s = time.monotonic()
    for number in range(100):
        one.offer(number)
    assert time.monotonic() - began_s < 10
    may_end.set()


def test_a_drift_is_reported_once_with_its_end(checked):
    one = checked(min_agreement=0.9)
    one.run(MIN_CHECKS - 1, 0.5)
    assert one.reports == []
    one.run(5, 0.5)
    one.settle(MIN_CHECKS + 4)
    assert one.reports == [
        "the answers drift: their agreement with the reference is 0.500 in the last 20 checks, and the limit is 0.900"
    ]
    one.run(110, 1.0)
    one.settle(100)
    assert one.reports[1:] == ["the answers no longer drift: their agreement with the reference is 0.910"]


@pytest.mark.parametrize(("expected", "agreement", "drifts"), [(0.99, 0.95, False), (0.99, 0.93, True)])
def test_the_default_limit_is_below_the_agreement_at_export(checked, expected, agreement, drifts):
    one = checked(expected=expected)
    one.run(MIN_CHECKS, agreement)
    one.settle(MIN_CHECKS)
    one.check.close()
    assert bool(one.reports) == drifts


def test_a_reference_that_fails_ends_only_the_check(checked):
    def fail():
        msg = "no memory"
        raise EngineError(msg)

    one = checked(fail)
    assert one.reported.wait(30)
    for number in range(5):
        one.offer(number)
    one.check.close()
    assert one.reports == ["the shadow check has ended: no memory"]


def test_a_check_that_was_never_started_can_be_closed(tmp_path):
    ShadowCheck(Shadow(), 1.0, lambda: None, live=True).close()


def test_the_worst_frames_are_stored(tmp_path):
    folder = tmp_path / "worst"
    store = WorstFrames(folder, 3)
    for agreement in (0.9, 1.0, 0.5, 0.8, 0.95, 0.6):
        store.offer(IMAGE, agreement)
    (folder / "notes.txt").write_text("mine")

    def kept():
        return [path.name[:6] for path in sorted(folder.glob("*.jpg"))]

    assert kept() == ["0.5000", "0.6000", "0.8000"]
    again = WorstFrames(folder, 3)
    again.offer(IMAGE, 0.7)
    again.offer(IMAGE, 0.9)
    assert kept() == ["0.5000", "0.6000", "0.7000"]
    assert cv2.imread(str(next(folder.glob("*.jpg")))).shape == IMAGE.shape
    assert sorted(path.suffix for path in folder.iterdir()) == [".jpg"] * 3 + [".txt"]


def test_a_full_disk_ends_only_the_storing(checked, tmp_path, monkeypatch):
    one = checked(keep=tmp_path)

    def fail(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    one.run(3, 0.5)
    one.settle(3)
    assert one.reports == ["the shadow check stores no more frames: No space left on device"]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write to the folder"):
        WorstFrames(tmp_path / "file", 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"every": 0}, "every=0: must be a whole number"), ({"min_agreement": 1.5}, "must be a number from 0 to 1")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Shadow(**settings)


def test_a_stream_compares_answers_with_the_float_variant(tiny_bundle, tmp_path):
    """The agreement equals that of `Task.agreeing`, and the check does not change the answers of the loop."""
    enough = threading.Event()
    images = [factories.picture(90, 120, seed) for seed in range(4)]

    def frames():
        ends_s = time.monotonic() + 60
        while not enough.is_set() and time.monotonic() < ends_s:
            yield from images

    shadow = Shadow(every=1, keep=tmp_path / "worst")
    with orilla.runtime.open(tiny_bundle, variant="litert_wi8_ai8") as model:
        plain = [tick.result.to_dict() for tick in model.stream(images)]
        with model.stream(frames(), shadow=shadow, workers=1) as stream:
            for tick in stream:
                assert tick.result.to_dict() == plain[tick.index % 4]
                if tick.agreement is not None:
                    enough.set()
            figures = stream.stats(recent=False)
    assert 0 < figures.agreement == tick.agreement <= 1
    assert tick.to_dict()["agreement"] == round(tick.agreement, 4)
    assert not [thread for thread in threading.enumerate() if thread.name == "orilla-shadow"]


def test_a_check_that_cannot_work_is_refused(tiny_bundle, tmp_path):
    images = [IMAGE]
    with orilla.runtime.open(tiny_bundle, variant="litert_fp32") as model:
        for shadow, message in (
            (Shadow("litert_fp23"), "unknown variant 'litert_fp23': did you mean litert_fp32"),
            (Shadow(), "litert_fp32 is the variant that is opened"),
        ):
            with pytest.raises(ConfigError, match=message):
                model.stream(images, shadow=shadow)
        with pytest.raises(ConfigError, match="`shadow` needs one model"):
            orilla.runtime.together(road=model).stream(images, shadow=Shadow())
    message = "does not take images, and only images can be stored"
    with orilla.runtime.open(BUNDLES / "reviews.orilla") as texts, pytest.raises(ConfigError, match=message):
        texts.stream(["good"], shadow=Shadow(keep=tmp_path))
    with pytest.raises(ConfigError, match="road has no float32 variant: export it with one, or name another variant"):
        exact_variant(Bundle.open("road").manifest, "tflite")


def test_the_command_line(tiny_bundle, tmp_path):
    clip = factories.video(tmp_path / "clip.avi", 20)
    words = ["--variant", "litert_wi8_ai8", "--source", clip, "--sink", "none"]
    done = command.orilla("run", tiny_bundle, *words, "--shadow-every", 2, "--shadow-keep", tmp_path / "worst")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "worst").is_dir()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shadow": "x", "source": ["a=0", "b=1"]}, "--shadow needs exactly one --source"),
        ({"shadow_every": 0}, "--shadow: every=0: must be"),
    ],
)
def test_wrong_options_are_refused(given, message):
    options = {"shadow": None, "shadow_every": None, "shadow_min": None, "shadow_keep": None, "source": ["0"]}
    assert shadow_options.shadow_of(argparse.Namespace(**options)) is None
    assert shadow_options.shadow_of(argparse.Namespace(**{**options, "shadow": "float32"})) == Shadow()
    with pytest.raises(ConfigError, match=message):
        shadow_options.shadow_of(argparse.Namespace(**{**options, **given}))


def test_statistics_and_metrics_contain_the_agreement():
    pytest.importorskip("prometheus_client")
    from orilla.runtime.sinks.metrics_table import MetricsTable

    stats, metrics = LoopStats(), MetricsTable(5.0)
    for agreement in (None, 0.75, None):
        tick = msgspec.structs.replace(ticks.tick(), agreement=agreement)
        stats.delivered(tick)
        metrics.add(tick)
    figures = stats.figures(10**10)
    assert figures.agreement == figures.to_dict()["agreement"] == 0.75
    assert ", agreement 0.750, newest" in live.line(figures)
    assert metrics.registry.get_sample_value("orilla_agreement", {"source": ""}) == 0.75


def test_a_ladder_and_a_shadow_check_work_together(tiny_bundle):
    settings = {"ladder": Ladder(1000, ("litert_fp16",)), "shadow": Shadow(every=1), "guard": False}
    with orilla.runtime.open(tiny_bundle, variant="litert_wi8_ai8") as model:
        source = factories.ListSource([factories.picture(90, 120, seed) for seed in range(40)], live=True)
        assert {tick.rung for tick in model.stream(source, **settings)} <= {"litert_wi8_ai8", "litert_fp16"}

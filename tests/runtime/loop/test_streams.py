import threading
import time
from collections import Counter

import numpy as np
import pytest

import orilla.runtime
from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.loop.fair_lock import FairLock
from orilla.runtime.sources.source import now_ns


class Camera:
    """A live source with a fixed rate, which can fail or stall at a frame."""

    live, rate_hz = True, None

    def __init__(self, rate_hz=100, *, fails_at=None, stalls_at=None, ends_at=None):
        self.period_s, self.index, self.closed = 1 / rate_hz, 0, False
        self.fails_at, self.stalls_at, self.ends_at = fails_at, stalls_at, ends_at

    def read(self):
        time.sleep(self.period_s)
        if self.index == self.ends_at:
            return None
        if self.index == self.fails_at:
            msg = "the cable is loose"
            raise SourceError(msg)
        if self.index == self.stalls_at:
            return Event("waiting", self.index, now_ns(), "no frame")
        self.index += 1
        return Frame(self.index - 1, np.full((48, 64, 3), self.index % 256, np.uint8), now_ns())

    def close(self):
        self.closed = True


@pytest.fixture(scope="module")
def model():
    with orilla.runtime.open("probe") as opened:
        yield opened


def collect(streams, count):
    """Return the first ticks of the streams."""
    ticks = []
    for tick in streams:
        ticks.append(tick)
        if len(ticks) == count:
            break
    return ticks


def test_answers_carry_the_name_of_their_source(model):
    cameras = {"front": Camera(ends_at=20), "rear": Camera(ends_at=10)}
    with model.streams(cameras, policy="every") as streams:
        ticks = list(streams)
    assert Counter(tick.source for tick in ticks) == {"front": 20, "rear": 10}
    for name in cameras:
        assert [tick.index for tick in ticks if tick.source == name] == list(range(cameras[name].index))
    assert ticks[0].to_dict()["source"] == ticks[0].source
    assert {name: figures.frames for name, figures in streams.stats(recent=False).items()} == {"front": 20, "rear": 10}
    assert all(camera.closed for camera in cameras.values())


def test_one_source_has_no_name(model):
    with model.stream(Camera(ends_at=1)) as stream:
        (tick,) = stream
    assert tick.source is None
    assert "source" not in tick.to_dict()


def test_a_slow_or_stalled_camera_does_not_delay_the_others(model):
    with model.streams(fast=Camera(100), slow=Camera(5), dead=Camera(100, stalls_at=2)) as streams:
        began = time.monotonic()
        ticks = collect(streams, 60)
        seconds = time.monotonic() - began
    counts = Counter(tick.source for tick in ticks)
    assert counts["dead"] == 2
    assert counts["fast"] > 5 * counts["slow"] > 0
    assert seconds < 5


def test_an_error_of_one_source_is_raised_after_the_others_have_ended(model):
    cameras, seen = {"good": Camera(ends_at=30), "bad": Camera(fails_at=3)}, Counter()

    def count():
        with model.streams(cameras, policy="every") as streams:
            for tick in streams:
                seen[tick.source] += 1

    with pytest.raises(SourceError, match="the cable is loose"):
        count()
    assert seen == {"good": 30, "bad": 3}


def test_events_carry_the_name_of_their_source(model):
    class Corrupt(Camera):
        def read(self):
            frame = super().read()
            return Event("corrupt", 0, now_ns(), "frame 0 is damaged") if frame and frame.index == 0 else frame

    events = []
    with model.streams(a=Camera(ends_at=3), b=Corrupt(ends_at=3), on_event=events.append, guard=False) as streams:
        list(streams)
    assert [(event.kind, event.source) for event in events] == [("corrupt", "b")]


def test_policies_and_recordings_belong_to_sources(model, tmp_path):
    path = tmp_path / "drive.rec"
    with model.streams(a=Camera(100), b=Camera(100), policy={"b": "rate:10"}, record=path) as streams:
        ticks = collect(streams, 40)
    counts = Counter(tick.source for tick in ticks)
    assert counts["a"] > 3 * counts["b"]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["drive-a.rec", "drive-b.rec"]


def test_bad_sources_and_policies_are_rejected(model):
    with pytest.raises(ConfigError, match="no source: give one or more, as in front=0"):
        model.streams()
    with pytest.raises(ConfigError, match="the source a is given twice"):
        model.streams({"a": Camera()}, a=Camera())
    with pytest.raises(ConfigError, match="unknown source in `policy` 'rea': did you mean rear"):
        model.streams(rear=Camera(), policy={"rea": "latest"})
    first = Camera()
    with pytest.raises(SourceError, match="no such file"):
        model.streams(a=first, b="none.mp4")
    assert first.closed


def test_threads_take_turns_with_the_lock():
    lock, order, ready = FairLock(), [], threading.Barrier(3)

    def work(name):
        ready.wait()
        for _ in range(50):
            with lock:
                order.append(name)
                time.sleep(1e-3)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    ready.wait()
    for thread in threads:
        thread.join()
    both = order[2:-2]
    longest = max(len(run) for run in "".join(both).replace("ab", "a b").replace("ba", "b a").split())
    assert longest <= 2

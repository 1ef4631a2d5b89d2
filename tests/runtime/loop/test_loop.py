"""The camera loop with simulated sources and sessions: order of answers, drops, errors, and the end of the threads."""

import threading

import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.loop import scheduler
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.stages import ModelStages
from orilla.runtime.loop.stream import Stream
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.segment import decode

SPEC = Preprocess(size_hw=(8, 8), color="bgr").preprocessor()


class BrightnessSession:
    """Session that outputs the brightness of the image. It waits for the event `gate` before it returns a result."""

    engine = "test"

    def __init__(self, gate=None):
        self.seen, self.gate = [], gate

    def run(self, image):
        if self.gate is not None:
            self.gate.acquire()
        self.seen.append(int(image[0, 0, 0]))
        return np.full((4, 4, 1), image[0, 0, 0] / 255, np.float32)

    def close(self):
        pass


def brightness_decode(output, image):
    return decode(output, image.shape[:2], "bright")


def bright(values, size=(16, 16)):
    return [np.full((*size, 3), value, np.uint8) for value in values]


def run(source, infer, *, policy=None, on_event=None):
    chosen = Policy.parse(policy or ("latest" if source.live else "every"))
    return Stream(CameraLoop(source, ModelStages(SPEC, infer, brightness_decode), chosen, on_event=on_event))


def loop_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("orilla-")]


def test_every_frame_of_a_file_is_answered_in_order_with_its_identity():
    values = list(range(0, 250, 5))
    source = factories.ListSource(bright(values))
    ticks = list(run(source, BrightnessSession().run))
    assert [tick.index for tick in ticks] == list(range(50))
    assert [tick.captured_ns for tick in ticks] == [1_000_000 * index for index in range(50)]
    assert [round(float(tick.result.probability[0, 0]) * 255) for tick in ticks] == values
    assert all(tick.dropped == 0 for tick in ticks)
    assert all(set(tick.stages_ms) == {"capture", "prepare", "infer", "decode"} for tick in ticks)
    assert all(tick.delivered_ns > 0 for tick in ticks)
    assert not loop_threads()


class GatedLiveSource(factories.ListSource):
    """A camera that signals when it has delivered its last frame."""

    def __init__(self, images):
        super().__init__(images, live=True)
        self.exhausted = threading.Event()

    def read(self):
        frame = super().read()
        if frame is None:
            self.exhausted.set()
        return frame


def test_a_live_source_gives_its_newest_frame_and_counts_the_others():
    gate = threading.Semaphore(0)
    source, session = GatedLiveSource(bright(range(0, 100, 10))), BrightnessSession(gate)
    ticks = run(source, session.run)
    # The camera continues during the inference, so only the newest frame waits.
    taker = threading.Thread(target=lambda: (source.exhausted.wait(10), gate.release(), gate.release()))
    taker.start()
    answers = list(ticks)
    taker.join()
    assert answers[-1].index == 9
    assert len(answers) <= 2
    assert answers[-1].dropped + len(answers) == 10


def test_a_file_is_not_read_far_ahead_of_the_caller():
    source = factories.ListSource(bright([0] * 200))
    ticks = run(source, BrightnessSession().run)
    frames = [next(ticks).frame for _ in range(3)]
    assert source._index <= 3 + 2 * scheduler.QUEUE_DEPTH + 2
    ticks.close()
    assert not loop_threads()
    assert [frame.index for frame in frames] == [0, 1, 2]


def test_frames_before_a_failure_are_answered_then_the_error_is_raised():
    source = factories.ListSource(bright([1, 2, 3]), error=SourceError("the cable is out"))
    ticks = run(source, BrightnessSession().run)
    assert [next(ticks).index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceError, match="the cable is out"):
        next(ticks)
    assert not loop_threads()


def test_an_error_of_the_engine_reaches_the_caller():
    class Broken(BrightnessSession):
        def run(self, image):
            msg = "no memory"
            raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="no memory"):
        list(run(factories.ListSource(bright([1])), Broken().run))
    assert not loop_threads()


def test_a_caller_who_stops_ends_the_threads():
    source = factories.ListSource(bright([0] * 1000))
    ticks = run(source, BrightnessSession().run)
    next(ticks)
    ticks.close()
    assert not loop_threads()


def test_a_resolution_that_changes_midway_is_followed():
    images = bright([50], (16, 16)) + bright([60], (31, 17)) + bright([70], (480, 640))
    ticks = list(run(factories.ListSource(images), BrightnessSession().run))
    assert [tick.result.mask().shape for tick in ticks] == [(16, 16), (31, 17), (480, 640)]


class PoolSource(factories.ListSource):
    """Source that writes its frames into reused buffers, as a camera does."""

    def __init__(self, count, *, live=False):
        super().__init__([None] * count, live=live)
        self.pool = BufferPool()

    def read(self):
        if self._index == len(self._images):
            return None
        image = self.pool.take((16, 16, 3))
        image[:] = self._index % 256
        self._index += 1
        return Frame(self._index - 1, image, 0)


@pytest.mark.parametrize("live", [False, True])
def test_a_frame_stays_unchanged_as_long_as_it_is_held(live):
    held = []
    for tick in run(PoolSource(400, live=live), BrightnessSession().run):
        held.append((tick.frame.image, tick.frame.image[2:4], tick.index))
        for image, view, index in held:
            assert (image == index % 256).all()
            assert (view == index % 256).all()
    assert held[-1][2] == 399


def test_a_slow_caller_of_a_live_source_gets_fresh_answers():
    """While the caller is busy, newer answers replace the waiting answer, so the caller always gets a recent answer."""
    source = GatedLiveSource(bright(range(0, 250, 5)))
    ticks = run(source, BrightnessSession().run)
    first = next(ticks)
    assert source.exhausted.wait(10)
    answers = [first, *ticks]
    # When the camera ends, the caller has received one answer. Another answer may be waiting, and the answer to the
    # last frame follows.
    assert answers[-1].index == 49
    assert len(answers) <= 4


def test_buffers_are_used_again_when_nobody_holds_them():
    source = PoolSource(300)
    for _ in run(source, BrightnessSession().run):
        pass
    assert len(source.pool._buffers) <= 2 * scheduler.QUEUE_DEPTH + 4


def test_a_stream_that_nobody_holds_any_more_ends_its_threads():
    for _ in run(factories.ListSource(bright([0] * 1000)), BrightnessSession().run):
        break
    assert not loop_threads()


class EventfulSource(factories.ListSource):
    """Source that reports a `lost` event and a `corrupt` event between its frames."""

    def read(self):
        if self._index in (1, 2) and self._index not in self.message:
            self.message.append(self._index)
            kind = "lost" if self._index == 1 else "corrupt"
            return Event(kind, self._index, 0, f"{kind} at {self._index}")
        return super().read()

    message: list


def test_events_of_the_source_are_reported_and_the_loop_continues(caplog):
    source, events = EventfulSource(bright([1, 2, 3])), []
    source.message = []
    ticks = list(run(source, BrightnessSession().run, on_event=events.append))
    assert [tick.index for tick in ticks] == [0, 1, 2]
    assert [event.kind for event in events] == ["lost", "corrupt"]
    assert ticks[-1].drops == {"corrupt": 1}
    source = EventfulSource(bright([1, 2, 3]))
    source.message = []
    list(run(source, BrightnessSession().run))
    assert [record.message for record in caplog.records] == ["lost at 1", "corrupt at 2"]


def test_frames_that_the_model_cannot_take_are_skipped():
    images = [*bright([1]), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), *bright([4])]
    events = []
    ticks = list(run(factories.ListSource(images), BrightnessSession().run, on_event=events.append))
    assert [tick.index for tick in ticks] == [0, 3]
    assert ticks[-1].drops == {"corrupt": 2}
    assert [event.index for event in events] == [1, 2]


def test_a_source_without_one_good_frame_ends_with_the_reason():
    with pytest.raises(SourceError, match="expected an image with pixels"):
        list(run(factories.ListSource([np.zeros((0, 4, 3), np.uint8)]), BrightnessSession().run))


def test_a_changed_size_of_a_live_source_is_reported():
    images, events = bright([50]) + bright([60], (31, 17)), []
    source = factories.ListSource(images, live=True)
    list(run(source, BrightnessSession().run, on_event=events.append, policy="every"))
    assert [event.detail for event in events] == ["the frame size changed from 16x16 to 17x31"]


def test_an_error_of_the_event_handler_ends_the_loop():
    source = EventfulSource(bright([1, 2, 3]))
    source.message = []
    with pytest.raises(ZeroDivisionError):
        list(run(source, BrightnessSession().run, on_event=lambda event: 1 // 0))
    assert not loop_threads()


def test_a_source_that_cannot_be_closed_does_not_hang_the_loop():
    class Stuck(factories.ListSource):
        def close(self):
            msg = "the driver is gone"
            raise SourceError(msg)

    ticks = run(Stuck(bright([1, 2])), BrightnessSession().run)
    assert [next(ticks).index for _ in range(2)] == [0, 1]
    with pytest.raises(SourceError, match="the driver is gone"):
        next(ticks)
    assert not loop_threads()

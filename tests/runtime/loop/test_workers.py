"""Several inference workers: order of answers, tracking, replays, errors, and the end of the threads."""

import threading
import time
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import ConfigError, EngineError, SourceError
from orilla.runtime.commands.live import table
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.recording import Recording
from orilla.runtime.loop.replay import Replay
from orilla.runtime.loop.shared_scheduler import LoopItem
from orilla.runtime.loop.stages import ModelStages, StageTimer
from orilla.runtime.loop.stream import Stream
from orilla.runtime.loop.workers import InOrder, WorkerPlan
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.segment import decode

SPEC = Preprocess(size_hw=(8, 8), color="bgr").preprocessor()
COUNT = 120


class SlowNetwork:
    """A network that outputs the brightness of the image. It is slower than the source until there are workers.

    Args:
        source: Source of the loop.
        broken: Brightness for which the network fails.
    """

    def __init__(self, source, broken=None):
        self.source, self.broken = source, broken
        self.seen, self.threads, self.opened, self.closed = [], set(), 0, 0

    def infer(self, image):
        value = int(image[0, 0, 0])
        if value == self.broken:
            msg = "no memory"
            raise RuntimeError(msg)
        self.seen.append(value)
        self.threads.add(threading.get_ident())
        while not self.opened and self.source._index < COUNT and self.loop._scheduler._scheduler.room:
            time.sleep(0)  # The next inference must find a full queue.
        return np.full((4, 4, 1), value / 255, np.float32)

    @contextmanager
    def open(self, stages):
        self.opened += 1
        try:
            yield partial(stages.compute, infer=self.infer)
        finally:
            self.closed += 1


class Finishing(ModelStages):
    """Stages that record the order in which answers are finished."""

    finished: list[float]

    def finish(self, result, timer):
        self.finished.append(round(float(result.probability[0, 0]) * 255))
        timer.lap("track")
        return result


def decode_brightness(output, image):
    return decode(output, image.shape[:2], "bright")


def run(*, limit=3, broken=None, error=None, record=None, opener=None, replaces_first=False):
    images = [np.full((16, 16, 3), value, np.uint8) for value in range(COUNT)]
    source = factories.ListSource(images, error=error)
    network = SlowNetwork(source, broken)
    stages = Finishing(SPEC, network.infer, decode_brightness)
    stages.finished = []
    policy = Policy.parse("every")
    recording = None if record is None else Recording.create(record, policy, source, {})
    loop = CameraLoop(source, stages, policy, recorder=recording)
    network.loop = loop
    loop.plan = WorkerPlan(limit, stages, opener or partial(network.open, stages), replaces_first=replaces_first)
    return Stream(loop, recording), network, stages


def values_of(ticks):
    return [round(float(tick.result.probability[0, 0]) * 255) for tick in ticks]


def loop_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("orilla-")]


def test_workers_answer_every_frame_in_order():
    stream, network, stages = run()
    ticks = list(stream)
    assert [tick.index for tick in ticks] == values_of(ticks) == list(range(COUNT))
    assert stages.finished == list(range(COUNT))
    assert all(set(tick.stages_ms) == {"capture", "prepare", "infer", "decode", "track"} for tick in ticks)
    assert sorted(network.seen) == list(range(COUNT))
    assert 1 <= network.opened == network.closed <= 2
    figures = stream.stats(recent=False)
    assert figures.workers == network.opened + 1
    assert f"{figures.workers} workers" in str(table(figures).title)
    assert not loop_threads()


def test_items_are_passed_on_in_the_order_of_their_turns():
    passed = []
    order = InOrder(lambda item: passed.append(item.turn))
    for turn in (2, 0, 3, 1):
        order.complete(LoopItem(None, None, StageTimer(), turn=turn))
    assert passed == [0, 1, 2, 3]


def test_a_replay_makes_the_same_decisions_as_a_loop_with_workers(tmp_path):
    stream, network, _ = run(record=tmp_path / "loop.rec")
    assert len(list(stream)) == COUNT
    assert network.opened
    replay = Replay.read(tmp_path / "loop.rec")
    assert replay.recorded_decisions() == replay.repeated_decisions()


def test_answers_before_a_failed_inference_are_delivered_then_the_error_is_raised():
    stream, network, _ = run(broken=COUNT - 20)
    ticks = []
    with pytest.raises(RuntimeError, match="no memory"):
        ticks.extend(iter(stream.__next__, None))
    assert values_of(ticks) == list(range(len(ticks)))
    assert len(network.seen) >= COUNT - 20
    assert network.opened == network.closed
    assert not loop_threads()


def test_a_source_that_fails_is_reported_after_the_answers_of_all_workers():
    stream, network, stages = run(error=SourceError("the disk is gone"))
    with pytest.raises(SourceError, match="the disk is gone"):
        list(stream)
    assert stages.finished == list(range(COUNT))
    assert network.opened == network.closed >= 1
    assert not loop_threads()


def test_a_caller_who_stops_ends_all_workers():
    stream, network, _ = run()
    for tick in stream:
        if tick.index == COUNT // 2:
            break
    stream.close()
    assert network.opened == network.closed
    assert not loop_threads()


def test_frames_in_the_loop_are_limited_while_the_caller_waits():
    stream, network, _ = run()
    last = next(tick for tick in stream if tick.index == COUNT // 2)
    assert network.source._index <= last.index + 1 + 9
    stream.close()


def test_the_loop_goes_on_if_no_other_session_can_be_loaded():
    @contextmanager
    def broken():
        msg = "too little memory"
        raise EngineError(msg)
        yield

    stream, network, _ = run(opener=broken)
    network.opened = 1  # The network does not wait for a full queue at the end.
    assert values_of(stream) == list(range(COUNT))
    assert stream.stats().workers == 1
    assert not loop_threads()


def test_workers_with_one_thread_replace_the_session_with_several():
    stream, network, _ = run(limit=2, replaces_first=True)
    assert values_of(stream) == list(range(COUNT))
    assert network.opened == 2
    assert stream.stats().workers <= 2


@pytest.mark.parametrize(("capture_ms", "infer_ms", "count"), [(10, 5, 2), (10, 25, 4), (10, 1000, 8), (0, 1, 8)])
def test_more_workers_pay_if_inference_takes_longer(capture_ms, infer_ms, count):
    assert WorkerPlan(8, None, None).count(capture_ms, infer_ms) == count


def test_a_model_gives_the_same_answers_with_several_workers(tiny_bundle):
    images = list(np.random.default_rng(0).integers(0, 256, (40, 24, 32, 3), np.uint8))
    with orilla.runtime.open(tiny_bundle) as model:
        answers = [[tick.result.to_dict() for tick in model.stream(images, workers=count)] for count in (1, 2)]
        compute = model.stages().compute
        with model.worker_plan(model.stages(), 2).open() as other:
            for image in images[:3]:
                prepared = model.stages().prepare(image)
                own = compute(prepared, image, StageTimer())
                assert np.array_equal(own.probability, other(prepared, image, StageTimer()).probability)
    assert answers[0] == answers[1]


def test_a_wrong_number_of_workers_is_refused(tiny_bundle, tmp_path):
    with orilla.runtime.open(tiny_bundle) as model:
        with pytest.raises(ConfigError, match="workers=0: must be 1 or more"):
            model.stream("scenes", workers=0)
        with pytest.raises(ConfigError, match="workers=2: several workers need one model"):
            model.stream([np.zeros((8, 8, 3), np.uint8)], policy="rate:5", workers=2, record=tmp_path / "a.rec")
    assert not list(tmp_path.iterdir())

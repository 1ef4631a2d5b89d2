"""Stage times of one model, of several models and of a cascade, on a simulated clock."""

import numpy as np
import pytest

from orilla.devices.errors import DataError
from orilla.runtime.loop.stages import CascadeStages, ModelStages, ParallelStages, StageTimer, answer_once
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.segment import decode

IMAGE = np.zeros((16, 16, 3), np.uint8)
MS = 1_000_000


class Clock:
    """A clock that advances only while a stage runs."""

    def __init__(self):
        self.now_ns = 0

    def __call__(self):
        return self.now_ns

    def taking(self, duration_ms, function):
        """Return a function that calls `function` and takes `duration_ms` on this clock."""

        def timed(*arguments, **options):
            self.now_ns += int(duration_ms * MS)
            return function(*arguments, **options)

        return timed


def model(clock, *, prepare, infer, decoding):
    """Return the stages of a simulated model, which take the given times in milliseconds."""
    stages = ModelStages(
        Preprocess(size_hw=(8, 8)).preprocessor(),
        clock.taking(infer, lambda prepared: np.ones((4, 4, 1), np.float32)),
        clock.taking(decoding, lambda output, raw: decode(output, raw.shape[:2], "bright")),
    )
    stages.prepare = clock.taking(prepare, stages.prepare)
    return stages


def test_one_model():
    clock = Clock()
    _, stages_ms = answer_once(model(clock, prepare=1, infer=10, decoding=3), IMAGE, clock=clock)
    assert stages_ms == {"prepare": 1, "infer": 10, "decode": 3}


def test_the_times_of_parallel_models_are_added_up():
    clock = Clock()
    first, second = model(clock, prepare=1, infer=10, decoding=3), model(clock, prepare=2, infer=20, decoding=5)
    result, stages_ms = answer_once(ParallelStages({"first": first, "second": second}), IMAGE, clock=clock)
    assert list(result) == ["first", "second"]
    assert stages_ms == {"prepare": 3, "infer": 30, "decode": 8}


@pytest.mark.parametrize("crops", [0, 1, 2])
def test_the_times_of_a_cascade_are_added_up_by_stage(crops):
    """The selection of the boxes takes 0.5 ms, which counts as preparation."""
    clock = Clock()
    first, second = model(clock, prepare=1, infer=10, decoding=3), model(clock, prepare=2, infer=20, decoding=5)
    crop = clock.taking(0.5, lambda answer, image: [(0, 0, 8, 8)] * crops)
    result, stages_ms = answer_once(CascadeStages(first, second, crop), IMAGE, clock=clock)
    assert len(result.parts) == crops
    assert stages_ms == {"prepare": 1.5 + 2 * crops, "infer": 10 + 20 * crops, "decode": 3 + 5 * crops}


def test_a_cascade_rejects_a_text():
    clock = Clock()
    stages = model(clock, prepare=1, infer=10, decoding=3)
    with pytest.raises(DataError, match="a cascade can process only images"):
        CascadeStages(stages, stages, lambda answer, image: []).answer(IMAGE, "a text", StageTimer(clock))


def test_a_wait_between_two_stages_counts_for_none():
    clock = Clock()
    timer = StageTimer(clock)
    clock.now_ns += 4 * MS
    timer.lap("capture")
    clock.now_ns += 100 * MS
    timer.restart()
    clock.now_ns += 7 * MS
    timer.lap("infer")
    assert timer.stages_ms == {"capture": 4, "infer": 7}

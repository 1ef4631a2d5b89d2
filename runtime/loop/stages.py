"""The stages that process a frame with one model, with several models, or with a cascade."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.frame import Answers, CascadeResult, Part, Result
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Color, Image
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.task import Answer, Located

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in the frame, in pixels. Right and bottom are exclusive."""

CropFunction = Callable[[Answer, Image], Sequence[Box] | None]
"""Function that receives the first model's answer and the frame, and returns the boxes for the second model."""

TrackFunction = Callable[[Answer, int | None], Answer]
"""Function that receives an answer and the time of the frame in nanoseconds (see `StageTimer.frame_ns`), and returns
the answer with tracked objects."""


class StageTimer:
    """Adds up the time that each stage takes for one frame.

    Args:
        clock: Function that returns the current time in nanoseconds.
    """

    __slots__ = ("_clock", "_lap_ns", "agreement", "frame_ns", "rung", "stages_ms")

    def __init__(self, clock: Callable[[], int] = time.perf_counter_ns) -> None:
        self.stages_ms: dict[str, float] = {}
        """Time of each stage so far, in milliseconds."""
        self.frame_ns: int | None = None
        """Time of the frame in nanoseconds: its capture time, or for a recorded source the time from its start. None if
        a recorded source has no frame rate."""
        self.rung: str | None = None
        """Name of the rung that answered the frame. None if the loop has no ladder."""
        self.agreement: float | None = None
        """Mean agreement of the last shadow checks, 0–1. None if there was none."""
        self._clock = clock
        self._lap_ns = clock()

    def restart(self) -> None:
        """Begin a new lap. The time since the end of the last lap is not added to any stage."""
        self._lap_ns = self._clock()

    def lap(self, stage: str) -> None:
        """Add the time of the current lap to a stage, and begin the next lap."""
        now_ns = self._clock()
        self.stages_ms[stage] = self.stages_ms.get(stage, 0.0) + (now_ns - self._lap_ns) / 1e6
        self._lap_ns = now_ns


class RungInput(NamedTuple):
    """A frame that a rung of a ladder has prepared."""

    rung: int
    """Index of the rung. 0 is the first one."""
    input: Any
    """The network's input."""
    comparable: bool
    """True if the input has the size of the first rung's input."""


class Stages(Protocol):
    """The stages that process each frame."""

    def prepare(self, raw: RawInput) -> Any:
        """Convert a frame into the network's input. The capture thread calls this method.

        The memory of the input is reused as soon as nothing refers to the input.

        Raises:
            DataError: The network cannot process the frame, so the loop drops it.
        """

    def answer(self, prepared: Any, raw: RawInput, timer: StageTimer) -> Result:
        """Return the result for a prepared frame. The inference thread calls this method.

        Args:
            prepared: The value that `prepare` returned for the frame.
            raw: The frame.
            timer: Timer with a lap that has just begun. The method adds the time of inference and decoding to the
                stages `infer` and `decode`, and the time of tracking to the stage `track`.
        """


def answer_once(
    stages: Stages, raw: RawInput, *, clock: Callable[[], int] = time.perf_counter_ns
) -> tuple[Result, dict[str, float]]:
    """Prepare and answer one frame in this thread. Return the result, and the time of each stage in milliseconds."""
    timer = StageTimer(clock)
    prepared = stages.prepare(raw)
    timer.lap("prepare")
    return stages.answer(prepared, raw, timer), timer.stages_ms


Observer = Callable[[ModelInput, Outputs, RawInput, StageTimer], None]
"""Function that receives the network's input, its outputs, the frame and its timer."""


class ModelStages:
    """Stages that run one model. Prepared frames use pooled buffers.

    Args:
        preprocessor: Function that prepares a raw input.
        infer: Function that runs the network.
        decode: Function that converts outputs into an answer.
        color: Channel order of the images.
        track: Function that receives each answer and the time of its frame in nanoseconds, and returns the answer with
            tracked objects. If None, objects are not tracked.
    """

    def __init__(
        self,
        preprocessor: InputPreprocessor,
        infer: Callable[[ModelInput], Outputs],
        decode: Callable[[Outputs, RawInput], Answer],
        *,
        color: Color = "bgr",
        track: TrackFunction | None = None,
    ) -> None:
        self._preprocessor, self._pool, self._color = preprocessor, BufferPool(), color
        self._infer, self._decode, self._track = infer, decode, track
        self.observer: Observer | None = None
        """Function that receives each frame after its decoding, with its outputs. It must not wait."""

    def prepare(self, raw: RawInput) -> ModelInput:
        """Return the network's input for a raw input."""
        buffer = self._pool.take(self._preprocessor.shape) if self._preprocessor.takes_buffers else None
        return self._preprocessor(raw, buffer, color=self._color)

    def answer(self, prepared: ModelInput, raw: RawInput, timer: StageTimer) -> Answer:
        """Run the inference, decode the outputs, track the objects, and add the times to `timer`."""
        return self.finish(self.compute(prepared, raw, timer), timer)

    def compute(
        self,
        prepared: ModelInput,
        raw: RawInput,
        timer: StageTimer,
        infer: Callable[[ModelInput], Outputs] | None = None,
    ) -> Answer:
        """Run the inference and decode the outputs. The frames may come in any order, and in several threads.

        Args:
            prepared: The network's input.
            raw: The frame.
            timer: Timer of the frame.
            infer: Function that runs the network. If None, it is the one that `__init__` received.
        """
        outputs = (infer or self._infer)(prepared)
        timer.lap("infer")
        result = self._decode(outputs, raw)
        timer.lap("decode")
        if self.observer is not None:
            self.observer(prepared, outputs, raw, timer)
        return result

    def finish(self, result: Answer, timer: StageTimer) -> Answer:
        """Track the objects of an answer. The frames must come in order."""
        if self._track is None:
            return result
        tracked = self._track(result, timer.frame_ns)
        timer.lap("track")
        return tracked


class ParallelStages:
    """Stages that run several models on the same frame."""

    def __init__(self, models: Mapping[str, ModelStages]) -> None:
        self._models = models

    def prepare(self, raw: RawInput) -> dict[str, ModelInput]:
        """Return the prepared input of each network. The keys are the names of the models."""
        return {name: stages.prepare(raw) for name, stages in self._models.items()}

    def answer(self, prepared: Mapping[str, ModelInput], raw: RawInput, timer: StageTimer) -> Answers:
        """Run each model, decode its output, and add both times to `timer`."""
        return Answers({name: stages.answer(prepared[name], raw, timer) for name, stages in self._models.items()})


class CascadeStages:
    """Stages that run the first model on the frame, and the second model on each box that `crop` returns.

    The time of a stage is the sum over both models. Cropping counts as preparation.
    """

    def __init__(self, first: ModelStages, second: ModelStages, crop: CropFunction) -> None:
        self._first, self._second, self._crop = first, second, crop

    def prepare(self, raw: RawInput) -> ModelInput:
        """Return the first network's input for a raw input."""
        return self._first.prepare(raw)

    def answer(self, prepared: ModelInput, raw: RawInput, timer: StageTimer) -> CascadeResult:
        """Run both models, decode their outputs, and add all times to `timer`."""
        if not isinstance(raw, np.ndarray):
            msg = "a cascade can process only images"
            raise DataError(msg)
        first = self._first.answer(prepared, raw, timer)
        boxes = [_inside(box, raw) for box in self._crop(first, raw) or ()]
        parts = []
        for left, top, right, bottom in boxes:
            if left < right and top < bottom:
                part = raw[top:bottom, left:right]
                prepared_part = self._second.prepare(part)
                timer.lap("prepare")
                answer = self._second.answer(prepared_part, part, timer)
                parts.append(Part((left, top, right, bottom), answer))
        timer.lap("prepare")
        return CascadeResult(first, tuple(parts))


def bounding_box(answer: Answer, image: Image) -> Sequence[Box]:
    """Return the boxes of the objects that the model found in the frame.

    Raises:
        ConfigError: The answer contains no positions, as for a classification.
    """
    del image
    if not isinstance(answer, Located):
        msg = "the answer of the first model has no position in the frame: set `crop` to a function that returns boxes"
        raise ConfigError(msg)
    return answer.boxes_xyxy()


def _inside(box: Sequence[Any], image: Image) -> Box:
    """Return the box in whole pixels, clipped to the image."""
    height, width = image.shape[:2]
    try:
        left, top, right, bottom = (round(float(edge)) for edge in box)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"`crop` returned {box!r}: a box must be left, top, right, bottom in pixels"
        raise ConfigError(msg) from error
    return max(0, left), max(0, top), min(width, right), min(height, bottom)

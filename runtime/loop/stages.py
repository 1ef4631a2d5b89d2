"""Processing of each frame: by one model, by several in parallel, or by a cascade."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.frame import Answer, Answers, Cascaded, Part
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.tasks.segment import Segmentation

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in the frame, pixels; right and bottom are exclusive."""

CropFunction = Callable[[Answer, Image], Sequence[Box] | None]
"""Function from the first model's answer and the frame to the boxes for the second model."""


class ModelStages:
    """Processing by one model. Its prepared frames use pooled buffers."""

    def __init__(
        self,
        preprocessor: InputPreprocessor,
        infer: Callable[[ModelInput], NDArray[np.float32]],
        decode: Callable[[NDArray[np.float32], RawInput], Answer],
    ) -> None:
        self._preprocessor, self._pool = preprocessor, BufferPool()
        self.infer, self.decode = infer, decode

    def prepare(self, raw: RawInput) -> ModelInput:
        return self._preprocessor(
            raw, self._pool.take(self._preprocessor.shape) if self._preprocessor.kind == "image" else None
        )


class ParallelStages:
    """Processing of the same frame by several models, with one capture and one decoding."""

    def __init__(self, works: Mapping[str, ModelStages]) -> None:
        self._works = works

    def prepare(self, raw: RawInput) -> dict[str, ModelInput]:
        return {name: work.prepare(raw) for name, work in self._works.items()}

    def infer(self, prepared: Mapping[str, ModelInput]) -> dict[str, NDArray[np.float32]]:
        return {name: work.infer(prepared[name]) for name, work in self._works.items()}

    def decode(self, output: Mapping[str, NDArray[np.float32]], raw: RawInput) -> Answers:
        return Answers({name: work.decode(output[name], raw) for name, work in self._works.items()})


class CascadeStages:
    """Processing by the first model, then by the second on each box that `crop` returns."""

    def __init__(self, first: ModelStages, second: ModelStages, crop: CropFunction) -> None:
        self._first, self._second, self._crop = first, second, crop

    def prepare(self, raw: RawInput) -> tuple[ModelInput, RawInput]:
        return self._first.prepare(raw), raw

    def infer(self, prepared: tuple[ModelInput, RawInput]) -> Cascaded:
        given, raw = prepared
        if not isinstance(raw, np.ndarray):
            msg = "a cascade takes images"
            raise DataError(msg)
        first = self._first.decode(self._first.infer(given), raw)
        parts = []
        for box in self._crop(first, raw) or ():
            left, top, right, bottom = _inside(box, raw)
            if left < right and top < bottom:
                part = raw[top:bottom, left:right]
                answer = self._second.decode(self._second.infer(self._second.prepare(part)), part)
                parts.append(Part((left, top, right, bottom), answer))
        return Cascaded(first, tuple(parts))

    def decode(self, output: Cascaded, raw: RawInput) -> Cascaded:
        return output


def around(answer: Answer, image: Image) -> Sequence[Box]:
    """Return the bounding box of a segmentation; none if nothing was found.

    Raises:
        ConfigError: The answer is not a segmentation.
    """
    if not isinstance(answer, Segmentation):
        msg = "a classification has no position in the frame: give the cascade a crop function"
        raise ConfigError(msg)
    return [] if (box := answer.box_xyxy) is None else [box]


def _inside(box: Sequence[Any], image: Image) -> Box:
    """Return the box in whole pixels, limited to the image."""
    height, width = image.shape[:2]
    try:
        left, top, right, bottom = (round(float(edge)) for edge in box)
    except (TypeError, ValueError, OverflowError) as error:
        msg = f"crop returned {box!r}: a box is left, top, right, bottom in pixels"
        raise ConfigError(msg) from error
    return max(0, left), max(0, top), min(width, right), min(height, bottom)

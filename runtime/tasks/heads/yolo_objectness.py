"""Rows of box, objectness and class scores, as YOLOX and detectors in the style of YOLOv5 output them.

The score of a candidate is its objectness times the score of its best class.

Sources: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), and its code under Apache-2.0
(Megvii-BaseDetection/YOLOX, `yolox/utils/demo_utils.py`): centre = (offset + cell) * stride, size = exp(value) *
stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import (
    are_probabilities,
    as_probabilities,
    candidate_grid,
    corners,
    expanded,
    pixels_xy,
    strides_of,
)
from orilla.runtime.tasks.heads.head import (
    Detections,
    Floats,
    Head,
    HeadSpec,
    Option,
    Outputs,
    Shapes,
    bare_shapes,
    best_classes,
    numbers,
    with_options,
)

ANCHORS_PER_CELL = 3
"""Number of candidates per cell of detectors in the style of YOLOv5."""

NORMALISED_LIMIT = 4.0
"""Coordinates of which 99 % are below this value are fractions of the input's size, not pixels."""


class YoloObjectness(Head):
    """One output `[A,5+C]`: centre x, centre y, width, height, objectness and a score for each class."""

    name = "yolo_objectness"
    title = "[A,5+C]: box, objectness and class scores, as in YOLOX and YOLOv5"
    roles = ("predictions",)
    defaults: ClassVar[dict[str, Option]] = {
        "encoding": "",
        "strides": [8.0, 16.0, 32.0],
        "coordinates": "pixels",
        "activated": True,
    }
    """`encoding`: `yolox` if the box is relative to its cell, `v5` if it is a position in the image. `strides`: input
    pixels per cell, only for `yolox`. `coordinates`: unit of boxes, only for `v5`. `activated`: True if the network has
    applied the sigmoid function to the scores."""
    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "encoding": ("yolox", "v5"),
        "coordinates": ("pixels", "normalised"),
    }

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise `[A,5+C]` if A is the number of cells, or three times this number."""
        if len(shapes) != 1:
            return None
        (output, shape), *_ = bare_shapes(shapes).items()
        if len(shape) != 2 or shape[1] < 6 or (names_hint and shape[1] != 5 + len(names_hint)):
            return None
        spec = HeadSpec(self.name, {"predictions": output})
        strides = strides_of(shape[0], input_hw)
        if strides:
            return with_options(spec, encoding="yolox", strides=numbers(strides))
        if strides_of(shape[0], input_hw, ANCHORS_PER_CELL):
            return with_options(spec, encoding="v5")
        return None

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set encoding, unit and activation.

        Logarithms of sizes have negative values, sizes do not. Without negative values, the boxes are positions.
        """
        rows = self.arrays(outputs, spec)["predictions"]
        spec = with_options(spec, activated=are_probabilities(rows[:, 4:]))
        if (rows[:, 2:4] < 0).any():
            return with_options(spec, encoding="yolox") if spec.options.get("encoding") == "yolox" else None
        return with_options(spec, encoding="v5", coordinates=unit_of(rows[:, :4]))

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Check the number of columns, and for `yolox` the number of rows."""
        shape = shapes["predictions"]
        return None if len(shape) == 2 and shape[1] >= 6 else f"predictions {list(shape)} must be [A,5+C]"

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of columns without the first five."""
        return shapes[spec.outputs["predictions"]][-1] - 5

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into candidates."""
        rows = self.arrays(outputs, spec)["predictions"]
        scores = as_probabilities(rows[:, 4:], activated=self.option(spec, "activated"))
        chosen, best, classes = best_classes(scores[:, :1] * scores[:, 1:], spec.score_threshold)
        boxes = rows[chosen, :4]
        if self.option(spec, "encoding") == "yolox":
            grid = candidate_grid(len(rows), input_hw, self.option(spec, "strides"))[chosen]
            corner, stride = grid[:, :2], grid[:, 2:]
            return Detections(corners((boxes[:, :2] + corner) * stride, expanded(boxes[:, 2:]) * stride), best, classes)
        return Detections(positions(boxes, self.option(spec, "coordinates"), input_hw), best, classes)


def unit_of(boxes: Floats) -> str:
    """Return `normalised` if boxes `[A,4]` are fractions of the input's size, else `pixels`."""
    return "normalised" if boxes.size and np.quantile(np.abs(boxes), 0.99) < NORMALISED_LIMIT else "pixels"


def positions(boxes: Floats, coordinates: str, input_hw: tuple[int, int]) -> Floats:
    """Return centres and sizes `[N,4]`, in pixels or normalised, as corners in pixels."""
    scale = pixels_xy(input_hw) if coordinates == "normalised" else np.ones(2, np.float32)
    return corners(boxes[:, :2] * scale, boxes[:, 2:4] * scale)


HEAD = YoloObjectness()

"""Rows of box, objectness and class scores, as YOLOX and detectors like YOLOv5 output them.

The score of a box is its objectness times the score of its best class.

Sources: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430), and its code under Apache-2.0
(Megvii-BaseDetection/YOLOX, `yolox/utils/demo_utils.py`), which contains the formulas centre = (offset + cell) * stride
and size = exp(value) * stride.
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
"""Number of boxes per cell in detectors like YOLOv5."""

NORMALISED_LIMIT = 4.0
"""If 99 % of the coordinates are below this value, they are fractions of the input's size, otherwise pixels."""


class YoloObjectness(Head):
    """The output `[A,5+C]`: centre x, centre y, width, height, objectness and a score for each class."""

    name = "yolo_objectness"
    title = "[A,5+C]: box, objectness and class scores, as in YOLOX and YOLOv5"
    roles = ("predictions",)
    defaults: ClassVar[dict[str, Option]] = {
        "encoding": "",
        "strides": [8.0, 16.0, 32.0],
        "coordinates": "pixels",
        "activated": True,
    }
    """`encoding`: `yolox` if a box is relative to its cell, `v5` if it is a position in the image. `strides`: width of
    a cell in pixels of the input for each grid, only for `yolox`. `coordinates`: unit of the boxes, only for `v5`.
    `activated`: True if the network has applied the sigmoid function to the scores."""
    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "encoding": ("yolox", "v5"),
        "coordinates": ("pixels", "normalised"),
    }

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise an output `[A,5+C]`, if A is the number of cells or three times this number."""
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
        """Set the options `encoding`, `coordinates` and `activated`.

        If widths or heights are negative, they are logarithms, so the encoding is `yolox`. Otherwise, the boxes are
        assumed to be positions in the image, so the encoding is `v5`.
        """
        rows = self.arrays(outputs, spec)["predictions"]
        spec = with_options(spec, activated=are_probabilities(rows[:, 4:]))
        if (rows[:, 2:4] < 0).any():
            return with_options(spec, encoding="yolox") if spec.options.get("encoding") == "yolox" else None
        return with_options(spec, encoding="v5", coordinates=unit_of(rows[:, :4]))

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shape or, for `yolox`, the number of rows is wrong, or None."""
        shape = shapes["predictions"]
        return None if len(shape) == 2 and shape[1] >= 6 else f"predictions has shape {list(shape)}, but needs [A,5+C]"

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of columns minus five: all columns except box and objectness."""
        return shapes[spec.outputs["predictions"]][-1] - 5

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes. Overlapping boxes are not yet suppressed."""
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
    """Convert boxes `[N,4]` from centre and size to left, top, right and bottom edge in pixels.

    Args:
        boxes: Centre x, centre y, width and height, `[N,4]`.
        coordinates: Unit of `boxes`: `pixels` or `normalised`.
        input_hw: Height and width of the network's input in pixels.
    """
    scale = pixels_xy(input_hw) if coordinates == "normalised" else np.ones(2, np.float32)
    return corners(boxes[:, :2] * scale, boxes[:, 2:4] * scale)


HEAD = YoloObjectness()

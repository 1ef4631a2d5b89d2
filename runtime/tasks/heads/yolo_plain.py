"""Boxes and class scores without objectness, as anchor-free YOLO detectors output them after decoding.

The score of a box is the score of its best class. Boxes are given as centre and size in the image.

Source: OpenCV, `samples/dnn/yolo_detector.cpp` (Apache-2.0), which describes the layout: an output `[4+C,A]` with
centre x, centre y, width and height, then the class scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import are_probabilities, as_probabilities, pixels_xy, strides_of
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
    with_options,
)
from orilla.runtime.tasks.heads.yolo_objectness import positions, unit_of

KEYPOINT_VALUES = (3, 2)
"""Possible numbers of values of a keypoint: x, y and visibility, or only x and y."""

MAX_DISTANCE = 0.25
"""Usual maximum distance between a keypoint and the centre of its box, as a share of the image's width or height."""

MAX_EXTENT = 0.75
"""Usual maximum distance between a keypoint and the centre of its box, as a share of the box's width or height."""


class YoloPlain(Head):
    """The output `[4+C,A]` or `[A,4+C]`: centre x, centre y, width, height and a score for each class.

    If there are keypoints, x, y and, for most networks, visibility of each keypoint follow the class scores.
    """

    name = "yolo_plain"
    title = "[4+C,A] or [A,4+C]: box and class scores without objectness, as in YOLOv8"
    roles = ("predictions",)
    defaults: ClassVar[dict[str, Option]] = {
        "transposed": True,
        "coordinates": "pixels",
        "activated": True,
        "keypoints": 0,
        "keypoint_values": 3,
    }
    """`transposed`: True for `[4+C,A]`. `coordinates`: unit of the boxes and keypoints. `activated`: True if the
    network has applied the sigmoid function to the scores. `keypoints`: number of keypoints. `keypoint_values`: 3 if
    each keypoint has x, y and visibility, 2 if it has only x and y."""
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"coordinates": ("pixels", "normalised")}

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise `[4+C,A]`, or `[A,4+C]` if the number of classes is known. A must be the number of cells."""
        if len(shapes) != 1:
            return None
        (output, shape), *_ = bare_shapes(shapes).items()
        if len(shape) != 2:
            return None
        transposed = bool(strides_of(shape[1], input_hw))
        values = shape[0] if transposed else shape[1]
        if not transposed and not (strides_of(shape[0], input_hw) and values == 4 + len(names_hint)):
            return None
        rest = values - 4 - len(names_hint) if names_hint else 0
        dims = next((dims for dims in KEYPOINT_VALUES if rest % dims == 0), None)
        if values < 5 or rest < 0 or dims is None:
            return None
        return HeadSpec(self.name, {"predictions": output}, {"transposed": transposed, **_points(rest, dims)})

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set the options `coordinates` and `activated`, and the number of values per keypoint.

        Return None if a width or height is negative, or if the columns after the scores are not keypoints. In the
        second case, the number of names is probably wrong.
        """
        rows = self._rows(outputs, spec)
        if (rows[:, 2:4] < 0).any():
            return None
        end, unit = self._columns(spec, rows.shape[1]), unit_of(rows[:, :4])
        rest = rows[:, end:]
        side = np.ones(2, np.float32) if unit == "normalised" else pixels_xy(input_hw)
        dims = next((dims for dims in KEYPOINT_VALUES if _are_keypoints(rest, dims, rows[:, :4], side)), None)
        if dims is None:
            return None
        activated = are_probabilities(rows[:, 4:end])
        return with_options(spec, coordinates=unit, activated=activated, **_points(rest.shape[1], dims))

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shape or the number of keypoints is wrong, or None."""
        shape = shapes["predictions"]
        if int(self.option(spec, "keypoints")) < 0:
            return "option keypoints must be 0 or more"
        if self.option(spec, "keypoint_values") not in KEYPOINT_VALUES:
            return "option keypoint_values must be 2 or 3"
        if len(shape) == 2 and self._columns(spec, shape[0 if self.option(spec, "transposed") else 1]) > 4:
            return None
        needed = "[4+C,A]" if self.option(spec, "transposed") else "[A,4+C]"
        return f"predictions has shape {list(shape)}, but needs {needed}"

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of values per box minus the values for position and keypoints."""
        return (
            self._columns(spec, shapes[spec.outputs["predictions"]][-2 if self.option(spec, "transposed") else -1]) - 4
        )

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes. Overlapping boxes are not yet suppressed."""
        rows = self._rows(outputs, spec)
        end = self._columns(spec, rows.shape[1])
        scores = as_probabilities(rows[:, 4:end], activated=self.option(spec, "activated"))
        chosen, best, classes = best_classes(scores, spec.score_threshold)
        unit, points = self.option(spec, "coordinates"), None
        if end < rows.shape[1]:
            points = rows[chosen, end:].reshape(
                -1, *(int(self.option(spec, name)) for name in ("keypoints", "keypoint_values"))
            )[..., :2]
            points = points * pixels_xy(input_hw) if unit == "normalised" else points
        return Detections(positions(rows[chosen, :4], unit, input_hw), best, classes, points)

    def _rows(self, outputs: Outputs, spec: HeadSpec) -> Floats:
        rows = self.arrays(outputs, spec)["predictions"]
        return rows.T if self.option(spec, "transposed") else rows

    def _columns(self, spec: HeadSpec, values: int) -> int:
        """Return the index of the first column after the class scores."""
        return values - int(self.option(spec, "keypoint_values")) * int(self.option(spec, "keypoints"))


def _points(values: int, dims: int) -> dict[str, Option]:
    """Return the options for the number of keypoints, given the number of columns after the scores."""
    return {"keypoints": values // dims, **({"keypoint_values": dims} if values and dims != KEYPOINT_VALUES[0] else {})}


def _are_keypoints(values: Floats, dims: int, boxes: Floats, side: Floats) -> bool:
    """Return True if columns can be keypoints: for most boxes, each keypoint is inside or near the box.

    Args:
        values: The columns after the scores, `[A,N]`.
        dims: Number of values of a keypoint.
        boxes: Centre x, centre y, width and height, `[A,4]`.
        side: Width and height of the image in the unit of the boxes.
    """
    if values.shape[1] % dims:
        return False
    points = values.reshape(len(values), -1, dims)[..., :2]
    far = np.maximum(MAX_DISTANCE * side, MAX_EXTENT * boxes[:, 2:])
    near = np.abs(points - boxes[:, None, :2]) <= far[:, None]
    return bool((near.mean(axis=0) >= 0.5).all())


HEAD = YoloPlain()

"""Boxes and class scores without objectness, as anchor-free YOLO detectors output them after decoding.

The score of a box is the score of its best class. Boxes are given as centre and size in the image.

Source: OpenCV, `samples/dnn/yolo_detector.cpp` (Apache-2.0), which describes the layout: an output `[4+C,A]` with
centre x, centre y, width and height, then the class scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

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


class YoloPlain(Head):
    """The output `[4+C,A]` or `[A,4+C]`: centre x, centre y, width, height and a score for each class.

    If there are keypoints, x, y and visibility of each keypoint follow the class scores.
    """

    name = "yolo_plain"
    title = "[4+C,A] or [A,4+C]: box and class scores without objectness, as in YOLOv8"
    roles = ("predictions",)
    defaults: ClassVar[dict[str, Option]] = {
        "transposed": True,
        "coordinates": "pixels",
        "activated": True,
        "keypoints": 0,
    }
    """`transposed`: True for `[4+C,A]`. `coordinates`: unit of the boxes and keypoints. `activated`: True if the
    network has applied the sigmoid function to the scores. `keypoints`: number of keypoints, each with x, y and
    visibility."""
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
        points, rest = divmod(values - 4 - len(names_hint), 3) if names_hint else (0, 0)
        if values < 5 or points < 0 or rest:
            return None
        return HeadSpec(self.name, {"predictions": output}, {"transposed": transposed, "keypoints": points})

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set the options `coordinates` and `activated`. Return None if a width or height is negative."""
        rows = self._rows(outputs, spec)
        if (rows[:, 2:4] < 0).any():
            return None
        end = self._columns(spec, rows.shape[1])
        return with_options(spec, coordinates=unit_of(rows[:, :4]), activated=are_probabilities(rows[:, 4:end]))

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shape or the number of keypoints is wrong, or None."""
        shape = shapes["predictions"]
        if int(self.option(spec, "keypoints")) < 0:
            return "option keypoints must be 0 or more"
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
            points = rows[chosen, end:].reshape(-1, int(self.option(spec, "keypoints")), 3)[..., :2]
            points = points * pixels_xy(input_hw) if unit == "normalised" else points
        return Detections(positions(rows[chosen, :4], unit, input_hw), best, classes, points)

    def _rows(self, outputs: Outputs, spec: HeadSpec) -> Floats:
        rows = self.arrays(outputs, spec)["predictions"]
        return rows.T if self.option(spec, "transposed") else rows

    def _columns(self, spec: HeadSpec, values: int) -> int:
        """Return the index of the first column after the class scores."""
        return values - 3 * int(self.option(spec, "keypoints"))


HEAD = YoloPlain()

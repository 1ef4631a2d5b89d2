"""The four outputs of the TFLite operator `TFLite_Detection_PostProcess`, which suppresses overlapping boxes itself.

Source: TensorFlow, `tensorflow/lite/kernels/detection_postprocess.cc` (Apache-2.0): boxes as ymin, xmin, ymax, xmax in
fractions of the input's size, classes counted from 0 without the background, scores, and the number of valid rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec
import numpy as np

from orilla.runtime.tasks.heads.geometry import Floats, are_probabilities, pixels_xy
from orilla.runtime.tasks.heads.head import Detections, Head, HeadSpec, Option, Outputs, Shapes


class Ssd(Head):
    """The outputs `boxes [N,4]`, `classes [N]`, `scores [N]` and `count [1]`."""

    name = "ssd"
    title = "boxes [N,4], classes [N], scores [N], count [1]: the operator TFLite_Detection_PostProcess"
    roles = ("boxes", "classes", "scores", "count")
    defaults: ClassVar[dict[str, Option]] = {"class_offset": 0}
    """`class_offset`: number that is added to the network's class index to get the index of the label."""
    overlaps = False

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise four outputs: one of shape `[N,4]`, two of shape `[N]`, and a single number.

        The names or the order of the outputs distinguish classes from scores.
        """
        plain = {name: _flat(shape) for name, shape in shapes.items()}
        boxes = [name for name, shape in plain.items() if len(shape) == 2 and shape[1] == 4]
        if len(plain) != 4 or len(boxes) != 1:
            return None
        rows = plain[boxes[0]][0]
        vectors = [name for name, shape in plain.items() if shape == (rows,)]
        counts = [name for name, shape in plain.items() if shape in ((), (1,)) and name not in vectors]
        if len(vectors) != 2 or len(counts) != 1:
            return None
        first, second = vectors
        if _scores_first(first, second, list(plain).index(boxes[0])):
            first, second = second, first
        return HeadSpec(self.name, {"boxes": boxes[0], "classes": first, "scores": second, "count": counts[0]})

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Swap `classes` and `scores` if `classes` contains no whole numbers or `scores` contains no probabilities."""
        classes, scores = (outputs[spec.outputs[role]].ravel() for role in ("classes", "scores"))
        if _are_whole(classes) and are_probabilities(scores):
            return spec
        if not (_are_whole(scores) and are_probabilities(classes)):
            return None
        names = spec.outputs | {"classes": spec.outputs["scores"], "scores": spec.outputs["classes"]}
        return msgspec.structs.replace(spec, outputs=names)

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shapes of boxes, classes and scores are wrong, or None."""
        boxes, classes, scores = (_flat(shapes[role]) for role in ("boxes", "classes", "scores"))
        if len(boxes) != 2 or boxes[1] != 4:
            return f"boxes has shape {list(boxes)}, but needs [N,4]"
        if classes not in (boxes[:1], ()) or scores not in (boxes[:1], ()):
            return f"classes and scores have the shapes {list(classes)} and {list(scores)}, but need [{boxes[0]}]"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> None:
        """Return None, because the shapes do not depend on the number of classes."""

    def used(self, outputs: Outputs, spec: HeadSpec) -> Outputs:
        """Return the outputs without the rows that the operator does not write."""
        arrays = self.arrays(outputs, spec)
        count = _count(arrays)
        return {
            spec.outputs["boxes"]: arrays["boxes"].reshape(-1, 4)[:count],
            spec.outputs["classes"]: arrays["classes"].ravel()[:count],
            spec.outputs["scores"]: arrays["scores"].ravel()[:count],
            spec.outputs["count"]: arrays["count"],
        }

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes."""
        arrays = self.arrays(outputs, spec)
        scores = arrays["scores"].ravel()
        chosen = np.flatnonzero(scores[: _count(arrays)] >= spec.score_threshold)
        boxes = arrays["boxes"].reshape(-1, 4)[chosen][:, [1, 0, 3, 2]] * np.tile(pixels_xy(input_hw), 2)
        classes = arrays["classes"].ravel()[chosen].round().astype(np.int64) + int(self.option(spec, "class_offset"))
        return Detections(boxes, scores[chosen], classes)


def _count(arrays: Mapping[str, Floats]) -> int:
    """Return the number of rows that the operator has written."""
    return max(0, int(np.nan_to_num(arrays["count"].ravel()[0]).round()))


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape without leading axes of length 1.

    The last axis always remains. For boxes, the last two axes remain.
    """
    while len(shape) > 1 and shape[0] == 1 and not (len(shape) == 2 and shape[1] == 4):
        shape = shape[1:]
    return shape


def _scores_first(first: str, second: str, place_of_boxes: int) -> bool:
    """Return True if the first of two outputs contains the scores, according to their names or else to their order.

    The operator's order is boxes, classes, scores, count. Exporters of TensorFlow 2 write scores, boxes, count and
    classes.
    """
    if "score" in first.lower() or "class" in second.lower():
        return True
    if "score" in second.lower() or "class" in first.lower():
        return False
    return place_of_boxes > 0


def _are_whole(values: Floats) -> bool:
    return bool(np.array_equal(values, values.round()))


HEAD = Ssd()

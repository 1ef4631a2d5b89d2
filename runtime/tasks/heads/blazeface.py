"""The two outputs of MediaPipe's face detectors: a box with six keypoints and a logit for each anchor.

All anchors have the size of the input, so only their centres matter. MediaPipe averages overlapping boxes; this project
keeps the best one.

Sources: Bazarevsky et al., "BlazeFace" (arXiv 1907.05047); MediaPipe under Apache-2.0: `ssd_anchors_calculator.cc` and
`tensors_to_detections_calculator.cc`, with the options of `face_detection_short_range.pbtxt` and
`face_detection_full_range.pbtxt`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from orilla.devices.errors import BundleError
from orilla.runtime.tasks.heads.geometry import cell_count, cells, corners, sigmoid
from orilla.runtime.tasks.heads.head import (
    Detections,
    Floats,
    Head,
    HeadSpec,
    Option,
    Outputs,
    Shapes,
    bare_shapes,
    numbers,
)

GRIDS: dict[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]] = {
    (128, 896): ((8, 16), (2, 6)),
    (256, 896): ((16, 32), (2, 6)),
    (192, 2304): ((4,), (1,)),
}
"""Known models: short range, the older model for the back camera, and full range. The key is the size of the input and
the number of anchors. The value is the strides, and the number of anchors per cell for each stride."""

VALUES = 16
"""Number of values per anchor: the centre, the size and six keypoints."""


class BlazeFace(Head):
    """Detector head with the outputs `boxes [A,16]` and `scores [A,1]`, as in BlazeFace."""

    name = "blazeface"
    title = "boxes [A,16], scores [A,1]: MediaPipe's face detectors"
    labels = ("face",)
    roles = ("boxes", "scores")
    defaults: ClassVar[dict[str, Option]] = {"strides": [], "anchors_per_cell": []}
    """`strides`: width of a cell in pixels of the input, for each grid. `anchors_per_cell`: number of anchors per cell,
    for each grid."""

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise outputs `[A,16]` and `[A,1]`, if A is the number of anchors of one of MediaPipe's models."""
        by_shape = {shape: name for name, shape in bare_shapes(shapes).items()}
        if len(shapes) != 2 or len(by_shape) != 2 or input_hw[0] != input_hw[1] or len(names_hint) > 1:
            return None
        for (size, count), (strides, per_cell) in GRIDS.items():
            if size == input_hw[0] and set(by_shape) == {(count, VALUES), (count, 1)}:
                names = {"boxes": by_shape[count, VALUES], "scores": by_shape[count, 1]}
                options: dict[str, Option] = {"strides": numbers(strides), "anchors_per_cell": numbers(per_cell)}
                return HeadSpec(self.name, names, options, score_threshold=0.5, iou_threshold=0.3)
        return None

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the number of values or anchors is wrong, or None."""
        boxes, scores = shapes["boxes"], shapes["scores"]
        if len(boxes) != 2 or boxes[1] != VALUES or scores != (boxes[0], 1):
            return f"boxes and scores have the shapes {list(boxes)} and {list(scores)}, but need [A,{VALUES}] and [A,1]"
        if len(self.option(spec, "strides")) != len(self.option(spec, "anchors_per_cell")):
            return "options strides and anchors_per_cell must have the same length"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return 1, because faces are the only class."""
        return 1

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes with six keypoints: eyes, nose, mouth and ears.

        Overlapping boxes are not yet suppressed.
        """
        arrays = self.arrays(outputs, spec)
        scores = sigmoid(arrays["scores"].ravel())
        chosen = np.flatnonzero(scores >= spec.score_threshold)
        strides, per_cell = (
            tuple(max(1, int(value)) for value in self.option(spec, name)) for name in ("strides", "anchors_per_cell")
        )
        expected = sum(count * cell_count(input_hw, (stride,)) for stride, count in zip(strides, per_cell, strict=True))
        if expected != len(scores):
            msg = f"the output has {len(scores)} rows, but the options define {expected} anchors"
            raise BundleError(msg)
        anchors, values = centres(input_hw, strides, per_cell)[chosen], arrays["boxes"][chosen]
        points = values[:, 4:].reshape(-1, (VALUES - 4) // 2, 2) + anchors[:, None]
        boxes = corners(values[:, :2] + anchors, values[:, 2:4])
        return Detections(boxes, scores[chosen], np.zeros(len(chosen), np.int64), points)


@lru_cache(maxsize=8)
def centres(input_hw: tuple[int, int], strides: tuple[int, ...], per_cell: tuple[int, ...]) -> Floats:
    """Return the centres of the anchors in pixels, as a read-only array `[A,2]`."""
    grids = [cells(input_hw, (stride,), count) for stride, count in zip(strides, per_cell, strict=True)]
    rows = np.concatenate(grids)
    result: Floats = (rows[:, :2] + np.float32(0.5)) * rows[:, 2:]
    result.setflags(write=False)
    return result


HEAD = BlazeFace()

"""Outputs of networks that include non-maximum suppression: rows of box, score and class, or three outputs.

Sources: the layouts as the documentation of the exporters describes them: `x1 y1 x2 y2 score class` of end-to-end
detectors (Wang et al., "YOLOv10", arXiv 2405.14458), `class score x1 y1 x2 y2` of PaddleDetection (Apache-2.0), `batch
class score x1 y1 x2 y2` of OpenVINO's operator `DetectionOutput` (Apache-2.0), and boxes, labels and scores of
torchvision's detectors (BSD-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import are_probabilities, pixels_xy, strides_of
from orilla.runtime.tasks.heads.head import (
    Detections,
    Floats,
    Head,
    HeadSpec,
    Option,
    Outputs,
    Shapes,
    bare_shapes,
    with_options,
)
from orilla.runtime.tasks.heads.yolo_objectness import ANCHORS_PER_CELL, unit_of

COLUMNS = {
    6: ("x1 y1 x2 y2 score class", "class score x1 y1 x2 y2"),
    7: ("batch x1 y1 x2 y2 class score", "batch class score x1 y1 x2 y2", "batch x1 y1 x2 y2 score class"),
}
"""Known orders of the columns, by the number of columns."""

NAMES = {"x1", "y1", "x2", "y2", "score", "class"}


class NmsInGraph(Head):
    """The output `detections [N,6]` or `[N,7]`, or the outputs `boxes [N,4]`, `scores [N]` and `classes [N]`."""

    name = "nms_in_graph"
    title = "[N,6] or [N,7], or boxes [N,4], scores [N], classes [N]: boxes after suppression in the graph"
    roles = ("detections",)
    defaults: ClassVar[dict[str, Option]] = {
        "columns": COLUMNS[6][0],
        "coordinates": "pixels",
        "class_offset": 0,
    }
    """`columns`: names of the columns of `detections`, separated by spaces: x1, y1, x2, y2, score, class and batch.
    `coordinates`: unit of the boxes. `class_offset`: number that is added to the network's class index to get the
    index of the label."""
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"coordinates": ("pixels", "normalised")}
    overlaps = False

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise three outputs, or one output `[N,6]` or `[N,7]`.

        An output with one row per grid cell is not recognised, because it has not passed NMS. For seven columns, the
        shape does not determine their order; `refine` determines it from the values.
        """
        bared = bare_shapes(shapes)
        if len(bared) == 3:
            return self._three(bared)
        if len(bared) != 1:
            return None
        (output, shape), *_ = bared.items()
        if len(shape) != 2 or shape[1] not in COLUMNS:
            return None
        if strides_of(shape[0], input_hw) or strides_of(shape[0], input_hw, ANCHORS_PER_CELL):
            return None
        columns = COLUMNS[6][0] if shape[1] == 6 else ""
        return HeadSpec(self.name, {"detections": output}, {"columns": columns}, iou_threshold=1.0)

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set the order of the columns and the unit of the boxes.

        If there are three outputs, determine which one contains the scores instead. Options that the values do not
        determine, because the network found no object, are set to an empty string.
        """
        if "detections" not in spec.outputs:
            return self._refine_three(spec, outputs)
        rows = self.arrays(outputs, spec)["detections"]
        rows = rows[rows.any(axis=1)]
        fitting = [columns for columns in COLUMNS.get(rows.shape[1], ()) if _fits(rows, columns.split())]
        if not fitting:
            return None
        if not len(rows):
            return with_options(spec, coordinates="")
        columns = spec.options["columns"] if spec.options.get("columns") in fitting else fitting[0]
        return with_options(spec, columns=columns, coordinates=unit_of(_box(rows, str(columns).split())))

    def roles_of(self, spec: HeadSpec) -> tuple[str, ...]:
        """Return one role, or three roles if the specification has three outputs."""
        return self.roles if len(spec.outputs) <= 1 else ("boxes", "scores", "classes")

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shapes, the names or the number of columns are wrong, or None."""
        if "detections" not in shapes:
            boxes = shapes["boxes"]
            return None if len(boxes) == 2 and boxes[1] == 4 else f"boxes has shape {list(boxes)}, but needs [N,4]"
        names, shape = str(self.option(spec, "columns")).split(), shapes["detections"]
        if not set(names) >= NAMES or not set(names) <= NAMES | {"batch"} or len(set(names)) < len(names):
            return f"option columns={' '.join(names)!r} must name x1, y1, x2, y2, score, class and optionally batch"
        if len(shape) != 2 or shape[1] != len(names):
            return f"detections has shape {list(shape)}, but needs [N,{len(names)}] for the columns {' '.join(names)}"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> None:
        """Return None, because the shapes do not depend on the number of classes."""

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes. Unused rows and rows of other images of a batch are removed."""
        arrays = self.arrays(outputs, spec)
        if "detections" in arrays:
            names, rows = str(self.option(spec, "columns")).split(), arrays["detections"]
            rows = rows[rows[:, names.index("batch")] == 0] if "batch" in names else rows
            boxes, scores, classes = _box(rows, names), rows[:, names.index("score")], rows[:, names.index("class")]
        else:
            boxes, scores, classes = arrays["boxes"].reshape(-1, 4), arrays["scores"].ravel(), arrays["classes"].ravel()
        chosen = np.flatnonzero((scores >= spec.score_threshold) & (classes > -1))
        if self.option(spec, "coordinates") == "normalised":
            boxes = boxes * np.tile(pixels_xy(input_hw), 2)
        numbered = classes[chosen].round().astype(np.int64) + int(self.option(spec, "class_offset"))
        return Detections(boxes[chosen], scores[chosen], numbered)

    def _three(self, shapes: Shapes) -> HeadSpec | None:
        boxes = [name for name, shape in shapes.items() if len(shape) == 2 and shape[1] == 4]
        if len(boxes) != 1:
            return None
        rows = shapes[boxes[0]][0]
        vectors = [name for name, shape in shapes.items() if shape in ((rows,), (rows, 1)) and name != boxes[0]]
        if len(vectors) != 2:
            return None
        first, second = vectors
        if "score" in second.lower() or "label" in first.lower() or "class" in first.lower():
            first, second = second, first
        return HeadSpec(self.name, {"boxes": boxes[0], "scores": first, "classes": second}, iou_threshold=1.0)

    def _refine_three(self, spec: HeadSpec, outputs: Outputs) -> HeadSpec | None:
        arrays = self.arrays(outputs, spec)
        names = spec.outputs
        if not _are_score_and_class(arrays["scores"].ravel(), arrays["classes"].ravel()):
            if not _are_score_and_class(arrays["classes"].ravel(), arrays["scores"].ravel()):
                return None
            names = names | {"scores": names["classes"], "classes": names["scores"]}
        used = arrays["boxes"].reshape(-1, 4)
        used = used[used.any(axis=1)]
        options = spec.options | {"coordinates": unit_of(used) if len(used) else ""}
        return HeadSpec(self.name, names, options, spec.score_threshold, spec.iou_threshold, spec.max_boxes)


def _box(rows: Floats, names: Sequence[str]) -> Floats:
    return rows[:, [names.index(name) for name in ("x1", "y1", "x2", "y2")]]


def _fits(rows: Floats, names: Sequence[str]) -> bool:
    """Return True if the values of `rows` `[N,columns]` do not contradict these column names."""
    box = _box(rows, names)
    batch = not ("batch" in names and rows[:, names.index("batch")].any())
    return (
        batch
        and bool((box[:, 2:] >= box[:, :2]).all())
        and _are_score_and_class(rows[:, names.index("score")], rows[:, names.index("class")])
    )


def _are_score_and_class(scores: Floats, classes: Floats) -> bool:
    """Return True if `scores` contains probabilities and `classes` contains whole numbers. -1 marks an unused row."""
    used = classes >= 0
    return are_probabilities(scores[used]) and bool(np.array_equal(classes, classes.round()) and (classes >= -1).all())


HEAD = NmsInGraph()

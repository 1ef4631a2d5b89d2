"""Object queries: class logits and a box for each query, as DETR and its successors output them.

Each query describes one object, so no suppression is necessary.

Sources: Carion et al., "End-to-End Object Detection with Transformers" (arXiv 2005.12872), with the class "no object"
in the last column; Zhu et al., "Deformable DETR" (arXiv 2010.04159), with the sigmoid function and without this class.
Code of both under Apache-2.0 (facebookresearch/detr, fundamentalvision/Deformable-DETR).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import are_probabilities, corners, pixels_xy
from orilla.runtime.tasks.heads.head import (
    Detections,
    Head,
    HeadSpec,
    Option,
    Outputs,
    Shapes,
    bare_shapes,
    best_classes,
    with_options,
)
from orilla.runtime.tasks.heads.ssd_anchors import activated, box_and_score_outputs

MAX_QUERIES = 1000
"""Maximum number of queries. A network with more boxes is assumed to have anchors instead."""


class Detr(Head):
    """The outputs `logits [Q,C]` or `[Q,C+1]`, and `boxes [Q,4]`: normalised centre x, centre y, width and height."""

    name = "detr"
    title = "logits [Q,C] or [Q,C+1], boxes [Q,4]: object queries, as in DETR"
    roles = ("logits", "boxes")
    defaults: ClassVar[dict[str, Option]] = {"activation": ""}
    """`activation`: `softmax` if the last column is the class "no object". `sigmoid` if there is no such class. `none`
    if there is no such class and `logits` already contains probabilities."""
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"activation": ("softmax", "sigmoid", "none")}
    overlaps = False

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise outputs `[Q,4]` and `[Q,C]` with few queries.

        If the number of classes is known, it determines the activation.
        """
        pair = box_and_score_outputs(shapes)
        if pair is None or "encod" in pair[0].lower():
            return None
        queries, columns = bare_shapes(shapes)[pair[1]]
        if queries > MAX_QUERIES:
            return None
        spec = HeadSpec(self.name, {"logits": pair[1], "boxes": pair[0]}, iou_threshold=1.0)
        if not names_hint:
            return spec
        activation = {len(names_hint): "sigmoid", len(names_hint) + 1: "softmax"}.get(columns)
        return None if activation is None else with_options(spec, activation=activation)

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set `activation` to `none` if `logits` contains probabilities.

        Return None if the boxes are not normalised.
        """
        arrays = self.arrays(outputs, spec)
        if arrays["boxes"].size and not -0.5 <= arrays["boxes"].min() <= arrays["boxes"].max() <= 1.5:
            return None
        return with_options(spec, activation="none") if are_probabilities(arrays["logits"]) else spec

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shapes or the numbers of queries do not match, or None."""
        logits, boxes = shapes["logits"], shapes["boxes"]
        if len(logits) == len(boxes) == 2 and boxes[1] == 4 and logits[0] == boxes[0]:
            return None
        return f"logits and boxes have the shapes {list(logits)} and {list(boxes)}, but need [Q,C] and [Q,4]"

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int | None:
        """Return the number of columns of `logits`, without the column "no object" that a softmax has.

        Return None if the activation is not known.
        """
        activation = self.option(spec, "activation")
        columns = shapes[spec.outputs["logits"]][-1]
        return columns - (activation == "softmax") if activation else None

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes."""
        arrays, activation = self.arrays(outputs, spec), self.option(spec, "activation")
        scores = activated(arrays["logits"], activation)
        chosen, best, classes = best_classes(
            scores[:, :-1] if activation == "softmax" else scores, spec.score_threshold
        )
        boxes = arrays["boxes"][chosen] * np.tile(pixels_xy(input_hw), 2)
        return Detections(corners(boxes[:, :2], boxes[:, 2:]), best, classes)


HEAD = Detr()

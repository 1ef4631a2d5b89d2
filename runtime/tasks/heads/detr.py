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

from orilla.runtime.tasks.heads.geometry import are_probabilities, corners, pixels_xy, strides_of
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
from orilla.runtime.tasks.heads.ssd_anchors import activated, box_and_score_outputs

QUERIES = (100, 200, 300, 500, 900)
"""Usual numbers of queries. A single output with another number of rows is not recognised."""

MAX_QUERIES = 1000
"""Maximum number of queries. A network with more boxes is assumed to have anchors instead."""


class Detr(Head):
    """The outputs `logits [Q,C]` or `[Q,C+1]`, and `boxes [Q,4]`: normalised centre x, centre y, width and height.

    Some networks output both in one array `predictions [Q,4+C]`.
    """

    name = "detr"
    title = "logits [Q,C] or [Q,C+1], boxes [Q,4], or both in [Q,4+C]: object queries, as in DETR"
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
        if len(shapes) == 1:
            return self._recognise_single(shapes, input_hw, names_hint)
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

    def _recognise_single(
        self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str]
    ) -> HeadSpec | None:
        """Recognise an output `[Q,4+C]` with a usual number of queries.

        An output with six or seven columns is recognised only if the names show that it has two or three classes.
        Otherwise, it probably has columns for the score and the class.
        """
        (output, shape), *_ = bare_shapes(shapes).items()
        if len(shape) != 2 or shape[0] not in QUERIES or shape[1] < 5:
            return None
        if not names_hint and shape[1] in (6, 7):
            return None
        if strides_of(shape[0], input_hw) or (names_hint and shape[1] != 4 + len(names_hint)):
            return None
        return HeadSpec(self.name, {"predictions": output}, {"activation": "sigmoid"}, iou_threshold=1.0)

    def roles_of(self, spec: HeadSpec) -> tuple[str, ...]:
        """Return the roles of two outputs, or the role of a single output."""
        return ("predictions",) if "predictions" in spec.outputs else self.roles

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set `activation` to `none` if `logits` contains probabilities.

        Return None if the boxes are not normalised. Also return None if a single output contains a column of class
        indices, because the network then suppresses boxes itself.
        """
        arrays = self._arrays(outputs, spec)
        if "predictions" in spec.outputs and _contains_indices(arrays["logits"]):
            return None
        if arrays["boxes"].size and not -0.5 <= arrays["boxes"].min() <= arrays["boxes"].max() <= 1.5:
            return None
        return with_options(spec, activation="none") if are_probabilities(arrays["logits"]) else spec

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shapes or the numbers of queries do not match, or None."""
        if "predictions" in shapes:
            shape = shapes["predictions"]
            fits = len(shape) == 2 and shape[1] >= 5
            return None if fits else f"predictions has shape {list(shape)}, but needs [Q,4+C]"
        logits, boxes = shapes["logits"], shapes["boxes"]
        if len(logits) == len(boxes) == 2 and boxes[1] == 4 and logits[0] == boxes[0]:
            return None
        return f"logits and boxes have the shapes {list(logits)} and {list(boxes)}, but need [Q,C] and [Q,4]"

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int | None:
        """Return the number of columns of `logits`, without the column "no object" that a softmax has.

        Return None if the activation is not known.
        """
        activation = self.option(spec, "activation")
        single = spec.outputs.get("predictions")
        columns = shapes[spec.outputs["logits"]][-1] if single is None else shapes[single][-1] - 4
        return columns - (activation == "softmax") if activation else None

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes."""
        arrays, activation = self._arrays(outputs, spec), self.option(spec, "activation")
        scores = activated(arrays["logits"], activation)
        chosen, best, classes = best_classes(
            scores[:, :-1] if activation == "softmax" else scores, spec.score_threshold
        )
        boxes = arrays["boxes"][chosen] * np.tile(pixels_xy(input_hw), 2)
        return Detections(corners(boxes[:, :2], boxes[:, 2:]), best, classes)

    def _arrays(self, outputs: Outputs, spec: HeadSpec) -> dict[str, Floats]:
        """Return `logits [Q,C]` and `boxes [Q,4]`."""
        arrays = self.arrays(outputs, spec)
        if "predictions" not in arrays:
            return arrays
        return {"boxes": arrays["predictions"][:, :4], "logits": arrays["predictions"][:, 4:]}


def _contains_indices(scores: Floats) -> bool:
    """Return True if the last column contains only whole numbers, as class indices do, and other columns do not."""
    whole = (scores == scores.round()).all(axis=0)
    return bool(whole[-1] and not whole.all())


HEAD = Detr()

"""Boxes relative to anchors with class scores, as SSD networks output them without post-processing.

Sources: Liu et al., "SSD: Single Shot MultiBox Detector" (arXiv 1512.02325), section 2: boxes are offsets of centre and
logarithms of size relative to the anchor, divided by variances. The order y, x, height, width is the one of the
TensorFlow Object Detection API (Apache-2.0, `box_coders/faster_rcnn_box_coder.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import corners, expanded, sigmoid, softmax
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

Rows = tuple[tuple[float, ...], ...]


class SsdAnchors(Head):
    """Outputs `boxes [A,4]` and `scores [A,C]`."""

    name = "ssd_anchors"
    title = "boxes [A,4], scores [A,C]: SSD without post-processing, with anchors given as options"
    roles = ("boxes", "scores")
    defaults: ClassVar[dict[str, Option]] = {
        "grids": [],
        "sizes": [],
        "aspect_ratios": [],
        "activation": "",
        "variances": [0.1, 0.1, 0.2, 0.2],
        "box_order": "xywh",
        "background": -1,
    }
    """`grids`: rows and columns of each feature map. `sizes`: for each feature map, the square root of the area of each
    of its anchors, in pixels of the input. `aspect_ratios`: width divided by height of the same anchors. `variances`:
    factors of x, y, width and height. `box_order`: order of the values of `boxes`. `activation`: function that turns
    `scores` into probabilities. `background`: column of the background in `scores`, or -1 if there is none."""
    tables = ("grids", "sizes", "aspect_ratios")
    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "activation": ("sigmoid", "softmax", "none"),
        "box_order": ("xywh", "yxhw"),
    }

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise `[A,4]` and `[A,C]`. The anchors must be given as options."""
        pair = box_and_score_outputs(shapes)
        if pair is None or any("logit" in name.lower() for name in shapes):
            return None
        spec = HeadSpec(self.name, {"boxes": pair[0], "scores": pair[1]})
        columns = bare_shapes(shapes)[pair[1]][1]
        if names_hint and columns not in (len(names_hint), len(names_hint) + 1):
            return None
        return with_options(spec, background=0) if names_hint and columns > len(names_hint) else spec

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Check the number of anchors."""
        boxes, scores = shapes["boxes"], shapes["scores"]
        if len(boxes) != 2 or boxes[1] != 4 or len(scores) != 2 or scores[0] != boxes[0]:
            return f"boxes {list(boxes)} and scores {list(scores)} must be [A,4] and [A,C]"
        grids, sizes, ratios = (self.option(spec, name) for name in ("grids", "sizes", "aspect_ratios"))
        if any(len(row) != 2 or not all(float(side).is_integer() for side in row) for row in grids):
            return f"option grids={grids} must be rows and columns of each feature map"
        if len(self.option(spec, "variances")) != 4:
            return "option variances must be four numbers, for x, y, width and height"
        if not -1 <= int(self.option(spec, "background")) < scores[1]:
            return (
                f"option background={self.option(spec, 'background')} must be -1, or a column of scores {list(scores)}"
            )
        if not len(grids) == len(sizes) == len(ratios) or list(map(len, sizes)) != list(map(len, ratios)):
            return "options grids, sizes and aspect_ratios must have one list per feature map, with a ratio per size"
        count = sum(int(rows * columns) * len(row) for (rows, columns), row in zip(grids, sizes, strict=True))
        if count != boxes[0]:
            return f"the options define {count} anchors, but boxes {list(boxes)} has {boxes[0]}"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of columns of the scores without the background."""
        return shapes[spec.outputs["scores"]][-1] - (int(self.option(spec, "background")) >= 0)

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into candidates."""
        arrays, background = self.arrays(outputs, spec), int(self.option(spec, "background"))
        scores = activated(arrays["scores"], self.option(spec, "activation"))
        if background >= 0:
            scores = np.delete(scores, background, axis=1)
        chosen, best, classes = best_classes(scores, spec.score_threshold)
        codes = arrays["boxes"][chosen]
        if self.option(spec, "box_order") == "yxhw":
            codes = codes[:, [1, 0, 3, 2]]
        anchors = anchors_of(spec, input_hw)[chosen]
        codes = codes * np.array(self.option(spec, "variances"), np.float32)
        centre = anchors[:, :2] + codes[:, :2] * anchors[:, 2:]
        return Detections(corners(centre, anchors[:, 2:] * expanded(codes[:, 2:])), best, classes)


def box_and_score_outputs(shapes: Shapes) -> tuple[str, str] | None:
    """Return the names of two outputs `[A,4]` and `[A,C]`, or None for other outputs.

    If C is also 4, the name with `box` is the one of the boxes.
    """
    bared = bare_shapes(shapes)
    if len(bared) != 2 or any(len(shape) != 2 for shape in bared.values()) or len({s[0] for s in bared.values()}) != 1:
        return None
    boxes = [name for name, shape in bared.items() if shape[1] == 4]
    if len(boxes) == 2:
        boxes = [name for name in boxes if "box" in name.lower()]
    if len(boxes) != 1:
        return None
    return boxes[0], next(name for name in bared if name != boxes[0])


def activated(scores: Floats, activation: str) -> Floats:
    """Return probabilities from scores `[A,C]`: `sigmoid`, `softmax`, or `none` if they are probabilities already."""
    if activation == "none":
        return scores
    return softmax(scores) if activation == "softmax" else sigmoid(scores)


def anchors_of(spec: HeadSpec, input_hw: tuple[int, int]) -> Floats:
    """Return centre x, centre y, width and height of the anchors of a specification, `[A,4]` pixels, read-only.

    The feature maps follow each other, their cells are in row-major order, and the anchors of a cell follow each other.
    """
    grids, sizes, ratios = (tuple(map(tuple, HEAD.option(spec, name))) for name in ("grids", "sizes", "aspect_ratios"))
    return _anchors(grids, sizes, ratios, input_hw)


@lru_cache(maxsize=8)
def _anchors(grids: Rows, sizes: Rows, ratios: Rows, input_hw: tuple[int, int]) -> Floats:
    maps = []
    for (rows, columns), areas, shapes in zip(grids, sizes, ratios, strict=True):
        y, x = (np.mgrid[: int(rows), : int(columns)].reshape(2, -1) + 0.5) * np.array(
            [[input_hw[0] / rows], [input_hw[1] / columns]]
        )
        roots = np.sqrt(np.array(shapes))
        size = np.stack([np.array(areas) * roots, np.array(areas) / roots], axis=1)
        centre = np.stack([x, y], axis=1).repeat(len(size), axis=0)
        maps.append(np.concatenate([centre, np.tile(size, (len(x), 1))], axis=1))
    result = np.concatenate(maps).astype(np.float32)
    result.setflags(write=False)
    return result


def encode(boxes_xyxy: Floats, anchors: Floats, variances: Sequence[float]) -> Floats:
    """Return the values that a network should output for boxes, `[N,4]`: the inverse of decoding.

    Args:
        boxes_xyxy: Boxes `[N,4]` in pixels of the input.
        anchors: The anchor of each box: centre x, centre y, width and height, `[N,4]`.
        variances: Factors of x, y, width and height.
    """
    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    offset = (boxes_xyxy[:, :2] + size / 2 - anchors[:, :2]) / anchors[:, 2:]
    codes = np.concatenate([offset, np.log(size / anchors[:, 2:])], axis=1)
    return np.asarray(codes / np.array(variances, np.float32), np.float32)


HEAD = SsdAnchors()

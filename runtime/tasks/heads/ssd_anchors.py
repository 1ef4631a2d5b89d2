"""Class scores, and boxes relative to anchors, as SSD networks output them without post-processing.

Sources: Liu et al., "SSD: Single Shot MultiBox Detector" (arXiv 1512.02325), section 2: boxes are offsets of centre and
logarithms of size relative to the anchor, divided by variances. The order y, x, height, width is that of the
TensorFlow Object Detection API (Apache-2.0, `box_coders/faster_rcnn_box_coder.py`).
"""

from __future__ import annotations

import math
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
    bare,
    bare_shapes,
    best_classes,
    numbers,
    with_options,
)

Rows = tuple[tuple[float, ...], ...]


class SsdAnchors(Head):
    """The outputs `boxes [A,4]` and `scores [A,C]`, or two outputs for each feature map.

    If a feature map has h x w cells with a anchors per cell, its outputs are `[h,w,a*4]` and `[h,w,a*C]`. Each output
    of an int8 network has its own scale, so one pair of outputs per feature map is more precise.
    """

    name = "ssd_anchors"
    title = (
        "boxes [A,4], scores [A,C], or boxes [h,w,a*4], scores [h,w,a*C] for each feature map: SSD without "
        "post-processing, with anchors given as options"
    )
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
    factors by which the offsets in x, y, width and height are multiplied. `box_order`: order of the values of `boxes`.
    `activation`: function that turns `scores` into probabilities. `background`: index of the background's column in
    `scores`, or -1 if there is no such column."""
    tables = ("grids", "sizes", "aspect_ratios")
    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "activation": ("sigmoid", "softmax", "none"),
        "box_order": ("xywh", "yxhw"),
    }

    def roles_of(self, spec: HeadSpec) -> tuple[str, ...]:
        """Return the roles `boxes` and `scores`, or for each feature map a numbered pair of these roles."""
        if "boxes_0" not in spec.outputs:
            return self.roles
        return tuple(f"{role}_{index}" for index in range(len(spec.outputs) // 2) for role in self.roles)

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise outputs `[A,4]` and `[A,C]`, or a pair for each feature map. The anchors must be options."""
        pair = box_and_score_outputs(shapes)
        if pair is None:
            return self._recognise_maps(shapes)
        if any("logit" in name.lower() for name in shapes):
            return None
        spec = HeadSpec(self.name, {"boxes": pair[0], "scores": pair[1]})
        columns = bare_shapes(shapes)[pair[1]][1]
        if names_hint and columns not in (len(names_hint), len(names_hint) + 1):
            return None
        return with_options(spec, background=0) if names_hint and columns > len(names_hint) else spec

    def _recognise_maps(self, shapes: Shapes) -> HeadSpec | None:
        """Recognise a pair of outputs `[h,w,...]` for each feature map. The names of the boxes contain `box`."""
        found: dict[tuple[int, ...], dict[str, str]] = {}
        for name, shape in shapes.items():
            if len(shape) < 3:
                return None
            found.setdefault(shape[-3:-1], {})["boxes" if "box" in name.lower() else "scores"] = name
        grids = sorted(found, key=math.prod, reverse=True)
        if not grids or len(shapes) != 2 * len(grids) or any(len(pair) != 2 for pair in found.values()):
            return None
        outputs = {f"{role}_{index}": found[grid][role] for index, grid in enumerate(grids) for role in self.roles}
        return HeadSpec(self.name, outputs, {"grids": numbers(grids)})

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the options are wrong or do not match the shapes, or None."""
        grids, sizes, ratios = (self.option(spec, name) for name in ("grids", "sizes", "aspect_ratios"))
        if any(len(row) != 2 or not all(float(side).is_integer() for side in row) for row in grids):
            return f"option grids={grids} must contain the rows and columns of each feature map"
        if len(self.option(spec, "variances")) != 4:
            return "option variances must be four numbers, for x, y, width and height"
        if not len(grids) == len(sizes) == len(ratios) or list(map(len, sizes)) != list(map(len, ratios)):
            return "options grids, sizes and aspect_ratios need one list per feature map, with one ratio per size"
        problem = (self._wrong_pair if "boxes" in shapes else self._wrong_maps)(spec, shapes)
        if problem is not None:
            return problem
        columns, background = self._columns(spec, shapes), int(self.option(spec, "background"))
        if not -1 <= background < columns:
            return f"option background={background} must be -1 or the index of one of the {columns} scores of an anchor"
        return None

    def _wrong_pair(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        boxes, scores, count = shapes["boxes"], shapes["scores"], sum(self._counts(spec))
        if len(boxes) != 2 or boxes[1] != 4 or len(scores) != 2 or scores[0] != boxes[0]:
            return f"boxes and scores have the shapes {list(boxes)} and {list(scores)}, but need [A,4] and [A,C]"
        if count != boxes[0]:
            return f"the options define {count} anchors, but boxes has shape {list(boxes)}"
        return None

    def _wrong_maps(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        grids, sizes = self.option(spec, "grids"), self.option(spec, "sizes")
        if 2 * len(grids) != len(shapes):
            return f"option grids has {len(grids)} feature maps, but there are {len(shapes)} outputs: two per map"
        if not all(shapes.values()):
            return "an output has a shape without axes"
        columns = self._columns(spec, shapes)
        for index, ((height, width), row) in enumerate(zip(grids, sizes, strict=True)):
            for role, values in (("boxes", 4), ("scores", columns)):
                shape = shapes[f"{role}_{index}"]
                expected = bare((int(height), int(width), len(row) * values))
                if shape != expected:
                    counted = f"for {len(row)} anchors per cell"
                    return f"{role}_{index} has shape {list(shape)}, but needs {list(expected)} {counted}"
        return None

    def _counts(self, spec: HeadSpec) -> list[int]:
        """Return the number of anchors of each feature map."""
        pairs = zip(self.option(spec, "grids"), self.option(spec, "sizes"), strict=True)
        return [int(rows * columns) * len(row) for (rows, columns), row in pairs]

    def _columns(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of scores of each anchor, including the background. The keys of `shapes` are roles."""
        if "scores" in shapes:
            return shapes["scores"][-1]
        return shapes["scores_0"][-1] // len(self.option(spec, "sizes")[0])

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of scores of each anchor, excluding the background."""
        columns = self._columns(spec, {role: bare(shapes[name]) for role, name in spec.outputs.items()})
        return columns - (int(self.option(spec, "background")) >= 0)

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes. Overlapping boxes are not yet suppressed."""
        arrays, background = self.arrays(outputs, spec), int(self.option(spec, "background"))
        if "boxes" not in arrays:
            arrays = self._joined(arrays, self._columns(spec, {role: array.shape for role, array in arrays.items()}))
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

    def _joined(self, arrays: dict[str, Floats], columns: int) -> dict[str, Floats]:
        """Return `boxes [A,4]` and `scores [A,C]` of all feature maps."""
        maps = range(len(arrays) // 2)
        return {
            role: np.concatenate([arrays[f"{role}_{index}"].reshape(-1, width) for index in maps])
            for role, width in (("boxes", 4), ("scores", columns))
        }


def box_and_score_outputs(shapes: Shapes) -> tuple[str, str] | None:
    """Return the names of two outputs `[A,4]` and `[A,C]`, or None for other outputs.

    If C is also 4, the output whose name contains `box` is assumed to contain the boxes.
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
    """Apply an activation, `sigmoid`, `softmax` or `none`, to scores `[A,C]`. Return probabilities."""
    if activation == "none":
        return scores
    return softmax(scores) if activation == "softmax" else sigmoid(scores)


def anchors_of(spec: HeadSpec, input_hw: tuple[int, int]) -> Floats:
    """Return centre x, centre y, width and height of all anchors in pixels, `[A,4]`, as a read-only array.

    The feature maps are concatenated. Their cells are in row-major order, and the anchors of a cell are adjacent.
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
    """Return the values `[N,4]` that a network should output for boxes. This is the inverse of decoding.

    Args:
        boxes_xyxy: Boxes `[N,4]` in pixels of the input.
        anchors: The anchor of each box, `[N,4]`: centre x, centre y, width and height.
        variances: Factors by which decoding multiplies the offsets in x, y, width and height.
    """
    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    offset = (boxes_xyxy[:, :2] + size / 2 - anchors[:, :2]) / anchors[:, 2:]
    codes = np.concatenate([offset, np.log(size / anchors[:, 2:])], axis=1)
    return np.asarray(codes / np.array(variances, np.float32), np.float32)


HEAD = SsdAnchors()

"""Heat maps of object centres with a size and an offset for each cell, as CenterNet outputs them.

A cell gives a box if its value is the maximum of the 3x3 cells around it. This replaces non-maximum suppression.

Source: Zhou et al., "Objects as Points" (arXiv 1904.07850), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import cv2
import numpy as np

from orilla.runtime.tasks.heads.geometry import are_probabilities, as_probabilities, corners
from orilla.runtime.tasks.heads.grids import channels_last, channels_of
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


class CenterNet(Head):
    """The outputs `heat [H,W,C]`, `size [H,W,2]` (width, height) and `offset [H,W,2]` (x, y).

    The channels may also be the first axis.
    """

    name = "centernet"
    title = "heat [H,W,C], size [H,W,2], offset [H,W,2]: heat maps of centres, as in CenterNet"
    roles = ("heat", "size", "offset")
    defaults: ClassVar[dict[str, Option]] = {"activated": True, "size_unit": "cells"}
    """`activated`: True if the network has applied the sigmoid function to the heat map. `size_unit`: unit of the
    sizes."""
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"size_unit": ("cells", "pixels")}
    overlaps = False

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise three grids of one stride, two of which have two channels.

        These two grids are distinguished by their names, or else by their order.
        """
        found = {name: channels_of(shape, input_hw) for name, shape in bare_shapes(shapes).items()}
        grids = {name: grid for name, grid in found.items() if grid is not None}
        if len(shapes) != 3 or len(grids) != 3 or len({stride for _, stride in grids.values()}) != 1:
            return None
        pairs = [name for name, (channels, _) in grids.items() if channels == 2]
        heat = [name for name in grids if name not in pairs] or [name for name in pairs if _named(name, "heat", "hm")]
        if len(heat) != 1 or (names_hint and grids[heat[0]][0] != len(names_hint)):
            return None
        size, offset = (name for name in grids if name != heat[0])
        if _named(size, "off", "reg") or _named(offset, "size", "wh", "dim"):
            size, offset = offset, size
        return HeadSpec(self.name, {"heat": heat[0], "size": size, "offset": offset}, iou_threshold=1.0)

    def refine(self, spec: HeadSpec, outputs: Outputs, input_hw: tuple[int, int]) -> HeadSpec | None:
        """Set the option `activated` according to the values of the heat map."""
        return with_options(spec, activated=are_probabilities(self.arrays(outputs, spec)["heat"]))

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the shapes are wrong or the three grids differ in size, or None."""
        heat, size, offset = (shapes[role] for role in self.roles)
        if len(heat) != 3 or size != offset or len(size) != 3 or 2 not in (size[0], size[2]):
            return (
                f"heat, size and offset have shapes {list(heat)}, {list(size)} and {list(offset)}, but need [H,W,C],"
                " [H,W,2] and [H,W,2]"
            )
        same = heat[:2] == size[:2] if size[2] == 2 else heat[1:] == size[1:]
        return None if same else f"heat {list(heat)} and size {list(size)} need the same height and width"

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int:
        """Return the number of channels of the heat map."""
        bared = bare_shapes(shapes)
        return bared[spec.outputs["heat"]][2 if bared[spec.outputs["size"]][2] == 2 else 0]

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes."""
        arrays = self.arrays(outputs, spec)
        size, offset = (channels_last(arrays[role], 2) for role in ("size", "offset"))
        heat = arrays["heat"] if arrays["heat"].shape[:2] == size.shape[:2] else np.moveaxis(arrays["heat"], 0, -1)
        scores = as_probabilities(heat, activated=self.option(spec, "activated"))
        y, x, classes = np.nonzero((scores >= spec.score_threshold) & (scores >= _neighbourhood_maximum(scores)))
        stride = np.array([input_hw[1] / size.shape[1], input_hw[0] / size.shape[0]], np.float32)
        centre = (np.stack([x, y], axis=1).astype(np.float32) + offset[y, x]) * stride
        sizes = size[y, x] * (stride if self.option(spec, "size_unit") == "cells" else np.ones(2, np.float32))
        return Detections(corners(centre, sizes), scores[y, x, classes], classes.astype(np.int64))


def _neighbourhood_maximum(scores: Floats) -> Floats:
    """Return for each cell and class the maximum of the 3x3 cells around the cell, `[H,W,C]`."""
    largest = [
        cv2.dilate(np.ascontiguousarray(scores[..., channel]), np.ones((3, 3))) for channel in range(scores.shape[2])
    ]
    return np.stack(largest, axis=2)


def _named(name: str, *parts: str) -> bool:
    return any(part in name.lower() for part in parts)


HEAD = CenterNet()

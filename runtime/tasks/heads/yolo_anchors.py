"""Grids of objectness, class scores and boxes relative to anchors, as YOLOv3 outputs them before decoding.

Sources: Redmon and Farhadi, "YOLOv3: An Incremental Improvement" (arXiv 1804.02767), section 2.1, which contains the
formulas centre = sigmoid(t) + cell and size = anchor * exp(t), and the anchors for COCO. Wang et al., "Scaled-YOLOv4"
(arXiv 2011.08036): centre = 2 * sigmoid(t) - 0.5 + cell, size = anchor * (2 * sigmoid(t))^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import cells, corners, expanded, sigmoid
from orilla.runtime.tasks.heads.grids import (
    channel_count,
    channels_last,
    grid_roles,
    grids_of,
    named_grids,
    strides_of_grids,
)
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
)

ANCHORS_PER_CELL = 3
"""Number of anchors per cell that recognition assumes."""


class YoloAnchors(Head):
    """An output `[H,W,K*(5+C)]` or `[K*(5+C),H,W]` for each stride, with K anchors per cell and C classes."""

    name = "yolo_anchors"
    title = "per stride [H,W,3*(5+C)] or [3*(5+C),H,W]: boxes relative to anchors, as in YOLOv3"
    roles = ("grid_0", "grid_1", "grid_2")
    defaults: ClassVar[dict[str, Option]] = {"anchors": [], "formula": ""}
    """`anchors`: for each output, the widths and heights of its anchors in pixels of the input, `[w,h,w,h,...]`.
    `formula`: `exponential` as in YOLOv3, or `squared` as in Scaled-YOLOv4 and YOLOv5."""
    tables = ("anchors",)
    choices: ClassVar[dict[str, tuple[str, ...]]] = {"formula": ("exponential", "squared")}

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise grids with different strides whose number of channels is a multiple of three."""
        found = grids_of(shapes, input_hw)
        if found is None or found[1] % ANCHORS_PER_CELL:
            return None
        classes = found[1] // ANCHORS_PER_CELL - 5
        if classes < 1 or (names_hint and classes != len(names_hint)):
            return None
        return HeadSpec(self.name, named_grids(found[0]))

    def roles_of(self, spec: HeadSpec) -> tuple[str, ...]:
        """Return one role for each output."""
        return grid_roles(spec)

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the number of channels or anchors is wrong, or None."""
        bad = next((list(shape) for shape in shapes.values() if len(shape) != 3), None)
        if bad is not None:
            return f"an output has shape {bad}, but needs [H,W,K*(5+C)] or [K*(5+C),H,W]"
        rows = self.option(spec, "anchors")
        if {len(row) for row in rows} != {len(rows[0])} or len(rows[0]) % 2:
            return f"option anchors={rows} needs one list of widths and heights per output, all of the same length"
        count, channels = len(rows[0]) // 2, channel_count(shapes)
        if len(rows) != len(shapes):
            return f"option anchors has {len(rows)} lists, but there are {len(shapes)} outputs"
        if not count or channels is None or channels % count or channels // count < 6:
            return f"each output needs {count}*(5+C) channels, because there are {count} anchors per cell"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int | None:
        """Return the number of channels per anchor minus five: all channels except box and objectness."""
        bared, rows = bare_shapes(shapes), self.option(spec, "anchors")
        channels = channel_count({name: bared[name] for name in spec.outputs.values()})
        anchors = len(rows[0]) // 2 if rows else ANCHORS_PER_CELL
        return None if channels is None else channels // anchors - 5

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes. Overlapping boxes are not yet suppressed."""
        grids, anchors = self.arrays(outputs, spec), np.array(self.option(spec, "anchors"), np.float32)
        per_cell = anchors.shape[1] // 2
        channels = channel_count({role: grid.shape for role, grid in grids.items()})
        assert channels is not None
        ordered = [channels_last(grids[role], channels) for role in self.roles_of(spec)]
        strides = strides_of_grids(ordered, input_hw)
        rows = np.concatenate([grid.reshape(-1, channels // per_cell) for grid in ordered])
        # The score is a product of two probabilities, so it needs the sigmoid of all class scores. Only a few boxes
        # remain.
        objectness = sigmoid(rows[:, 4])
        likely = np.flatnonzero(objectness >= spec.score_threshold)
        scores = objectness[likely, None] * sigmoid(rows[likely, 5:])
        kept, best, classes = best_classes(scores, spec.score_threshold)
        chosen = likely[kept]
        sizes = np.concatenate(
            [
                np.tile(row.reshape(-1, 2), (grid.shape[0] * grid.shape[1], 1))
                for row, grid in zip(anchors, ordered, strict=True)
            ]
        )
        boxes = self._boxes(rows[chosen], cells(input_hw, strides, per_cell)[chosen], sizes[chosen], spec)
        return Detections(boxes, best, classes)

    def _boxes(self, rows: Floats, grid: Floats, sizes: Floats, spec: HeadSpec) -> Floats:
        """Return the boxes in pixels of the input, `[N,4]`.

        Args:
            rows: Raw values, `[N,5+C]`.
            grid: Column, row and stride of each box, `[N,3]`.
            sizes: Width and height of the anchors, `[N,2]`.
            spec: Layout.
        """
        if self.option(spec, "formula") == "exponential":
            return corners((sigmoid(rows[:, :2]) + grid[:, :2]) * grid[:, 2:], expanded(rows[:, 2:4]) * sizes)
        doubled = 2 * sigmoid(rows[:, :4])
        centre = (doubled[:, :2] - np.float32(0.5) + grid[:, :2]) * grid[:, 2:]
        return corners(centre, np.square(doubled[:, 2:]) * sizes)


HEAD = YoloAnchors()

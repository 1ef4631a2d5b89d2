"""Grids of box distributions and class logits, as anchor-free YOLO detectors output them before decoding.

Each cell predicts the distances from its centre to the four edges of the box. A distance is the expected value of a
distribution over 0, 1, 2, ... cells.

Source: Li et al., "Generalized Focal Loss" (arXiv 2006.04388), section 3.2, and its implementation under Apache-2.0 in
open-mmlab/mmdetection, `gfl_head.py` (class `Integral`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from orilla.runtime.tasks.heads.geometry import cells, sigmoid, softmax
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

BINS = 16
"""Default number of values of a distribution, for distances of 0 to 15 cells."""


class YoloDfl(Head):
    """An output `[H,W,4*bins+C]` or `[4*bins+C,H,W]` for each stride.

    The channels are the distributions of left, top, right and bottom, and then the class logits.
    """

    name = "yolo_dfl"
    title = "per stride [H,W,64+C] or [64+C,H,W]: distributions of distances and class logits"
    roles = ("grid_0", "grid_1", "grid_2")
    defaults: ClassVar[dict[str, Option]] = {"bins": BINS}
    """`bins`: number of values of a distribution."""

    def recognise(self, shapes: Shapes, input_hw: tuple[int, int], names_hint: Sequence[str] = ()) -> HeadSpec | None:
        """Recognise grids with the same number of channels and different strides."""
        found = grids_of(shapes, input_hw)
        if found is None or (names_hint and found[1] != 4 * BINS + len(names_hint)) or found[1] <= 4 * BINS:
            return None
        return HeadSpec(self.name, named_grids(found[0]))

    def roles_of(self, spec: HeadSpec) -> tuple[str, ...]:
        """Return one role for each output."""
        return grid_roles(spec)

    def mismatch(self, spec: HeadSpec, shapes: Shapes) -> str | None:
        """Return an error message if the number of channels is wrong, or None."""
        bad = next((list(shape) for shape in shapes.values() if len(shape) != 3), None)
        if bad is not None:
            return f"an output has shape {bad}, but needs [H,W,4*bins+C] or [4*bins+C,H,W]"
        channels = channel_count(shapes)
        if int(self.option(spec, "bins")) < 1:
            return "option bins must be 1 or more"
        if channels is None or channels <= 4 * int(self.option(spec, "bins")):
            return f"the outputs need more than {4 * int(self.option(spec, 'bins'))} channels, and all the same number"
        return None

    def class_count(self, spec: HeadSpec, shapes: Shapes) -> int | None:
        """Return the number of channels that contain class logits."""
        bared = bare_shapes(shapes)
        channels = channel_count({name: bared[name] for name in spec.outputs.values()})
        return None if channels is None else channels - 4 * int(self.option(spec, "bins"))

    def decode(self, outputs: Outputs, spec: HeadSpec, input_hw: tuple[int, int]) -> Detections:
        """Convert outputs into boxes. Overlapping boxes are not yet suppressed."""
        grids, bins = self.arrays(outputs, spec), int(self.option(spec, "bins"))
        channels = channel_count({role: grid.shape for role, grid in grids.items()})
        assert channels is not None
        ordered = [channels_last(grids[role], channels) for role in self.roles_of(spec)]
        strides = strides_of_grids(ordered, input_hw)
        rows = np.concatenate([grid.reshape(-1, channels) for grid in ordered])
        chosen, best, classes = best_classes(sigmoid(rows[:, 4 * bins :]), spec.score_threshold)
        distances = expected_values(rows[chosen, : 4 * bins].reshape(-1, 4, bins))
        grid = cells(input_hw, strides)[chosen]
        centre, stride = grid[:, :2] + np.float32(0.5), grid[:, 2:]
        edges = np.concatenate([centre - distances[:, :2], centre + distances[:, 2:]], axis=1)
        return Detections(edges * stride, best, classes)


def expected_values(logits: Floats) -> Floats:
    """Return the expected value of each distribution over 0, 1, ..., bins - 1, given its logits `[...,bins]`."""
    return np.asarray(softmax(logits) @ np.arange(logits.shape[-1], dtype=np.float32), np.float32)


HEAD = YoloDfl()

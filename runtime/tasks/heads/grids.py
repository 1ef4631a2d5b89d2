"""Functions for outputs that are grids over the image. They determine the strides, channels and order of the grids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orilla.devices.errors import BundleError
from orilla.runtime.tasks.heads.geometry import Floats
from orilla.runtime.tasks.heads.head import HeadSpec, Shapes, bare_shapes


def channels_of(shape: tuple[int, ...], input_hw: tuple[int, int]) -> tuple[int, int] | None:
    """Return the number of channels and the stride of a grid `[H,W,C]` or `[C,H,W]`, or None for any other shape."""
    if len(shape) != 3:
        return None
    for rows, columns, channels in ((shape[0], shape[1], shape[2]), (shape[1], shape[2], shape[0])):
        stride = input_hw[0] // rows if rows > 0 else 0
        if stride and rows * stride == input_hw[0] and columns * stride == input_hw[1]:
            return channels, stride
    return None


def grids_of(shapes: Shapes, input_hw: tuple[int, int]) -> tuple[dict[str, int], int] | None:
    """Return the stride of each output and the number of channels of all outputs.

    Returns:
        The strides in ascending order by the name of the output, and the number of channels. None if the outputs are
        not grids with different strides and the same number of channels.
    """
    found = {name: channels_of(shape, input_hw) for name, shape in bare_shapes(shapes).items()}
    known = {name: grid for name, grid in found.items() if grid is not None}
    strides = {name: stride for name, (_, stride) in sorted(known.items(), key=lambda item: item[1][1])}
    channels = {channels for channels, _ in known.values()}
    if len(known) < len(found) or len(found) < 2 or len(channels) != 1 or len(set(strides.values())) < len(strides):
        return None
    return strides, channels.pop()


def channels_last(grid: Floats, channels: int) -> Floats:
    """Convert a grid `[H,W,C]` or `[C,H,W]`, which has `channels` channels, to `[H,W,C]`."""
    return grid if grid.shape[-1] == channels else np.moveaxis(grid, 0, -1)


def strides_of_grids(grids: Sequence[Floats], input_hw: tuple[int, int]) -> tuple[int, ...]:
    """Return the stride of each grid `[H,W,C]`. Raise `BundleError` if a grid does not cover the input evenly."""
    strides = []
    for grid in grids:
        rows, columns = grid.shape[:2]
        stride = input_hw[0] // rows
        if (rows * stride, columns * stride) != input_hw:
            msg = f"a grid of {columns}x{rows} cells does not cover the input of {input_hw[1]}x{input_hw[0]} pixels"
            raise BundleError(msg)
        strides.append(stride)
    return tuple(strides)


def grid_roles(spec: HeadSpec) -> tuple[str, ...]:
    """Return `grid_0`, `grid_1` and so on: one role for each output of the specification."""
    return tuple(f"grid_{index}" for index in range(max(1, len(spec.outputs))))


def named_grids(strides: Mapping[str, int]) -> dict[str, str]:
    """Return the name of the output for each role. `grid_0` has the smallest stride."""
    return {f"grid_{index}": name for index, name in enumerate(strides)}


def channel_count(shapes: Shapes) -> int | None:
    """Return the number of channels that all grids share, or None if the shapes do not determine it."""
    common = set.intersection(*({shape[0], shape[-1]} for shape in shapes.values()))
    return common.pop() if len(common) == 1 else None

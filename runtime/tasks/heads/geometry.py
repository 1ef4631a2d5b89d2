"""Boxes, grids and activation functions that several detector heads use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError

Floats = NDArray[np.float32]

STRIDE_SETS: tuple[tuple[int, ...], ...] = ((8, 16, 32), (8, 16, 32, 64), (16, 32), (4, 8, 16, 32))
"""Strides of common detectors: width of a cell in pixels of the input. `strides_of` tries them in this order."""


def cell_count(input_hw: tuple[int, int], strides: Sequence[int]) -> int:
    """Return the number of cells of all grids."""
    return sum((input_hw[0] // stride) * (input_hw[1] // stride) for stride in strides)


def strides_of(count: int, input_hw: tuple[int, int], per_cell: int = 1) -> tuple[int, ...] | None:
    """Return the first entry of `STRIDE_SETS` whose grids together give `count` boxes, or None."""
    fitting = (strides for strides in STRIDE_SETS if per_cell * cell_count(input_hw, strides) == count)
    return next(fitting, None)


@lru_cache(maxsize=32)
def cells(input_hw: tuple[int, int], strides: tuple[int, ...], per_cell: int = 1) -> Floats:
    """Return the column, row and stride of each box, `[A,3]` float32, as a read-only array.

    The grids are concatenated in the order of `strides`. Within a grid, the cells are in row-major order, and the boxes
    of a cell are adjacent.
    """
    grids = []
    for stride in strides:
        rows, columns = np.mgrid[: input_hw[0] // stride, : input_hw[1] // stride].reshape(2, -1)
        grids.append(np.stack([columns, rows, np.full_like(rows, stride)], axis=1).repeat(per_cell, axis=0))
    result = np.concatenate(grids).astype(np.float32)
    result.setflags(write=False)
    return result


def candidate_grid(count: int, input_hw: tuple[int, int], strides: Sequence[float]) -> Floats:
    """Return the cells, as `cells` does, of an output with one box per cell.

    Raises:
        BundleError: The number of rows differs from the number of cells.
    """
    whole = tuple(max(1, int(stride)) for stride in strides)
    if cell_count(input_hw, whole) != count:
        cells_text = f"{cell_count(input_hw, whole)} cells for the strides {', '.join(map(str, whole))}"
        msg = f"the output has {count} rows, but the input of {input_hw[1]}x{input_hw[0]} pixels has {cells_text}"
        raise BundleError(msg)
    return cells(input_hw, whole)


def corners(centre_xy: Floats, size_wh: Floats) -> Floats:
    """Convert centres `[N,2]` and sizes `[N,2]` into boxes with left, top, right and bottom edge, `[N,4]`."""
    half = size_wh / 2
    return np.concatenate([centre_xy - half, centre_xy + half], axis=1).astype(np.float32, copy=False)


def pixels_xy(input_hw: tuple[int, int]) -> Floats:
    """Return the width and height of the input: factors that convert normalised points `[...,2]` into pixels."""
    return np.array(input_hw[::-1], np.float32)


def sigmoid(logits: Floats) -> Floats:
    """Return the logistic function of logits. Large negative logits do not overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def softmax(logits: Floats) -> Floats:
    """Return the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def expanded(logarithms: Floats) -> Floats:
    """Return sizes, given their logarithms. Extremely large values are limited to prevent an overflow."""
    return np.asarray(np.exp(np.clip(logarithms, -20, 20)), np.float32)


def as_probabilities(values: Floats, *, activated: bool) -> Floats:
    """Return scores 0–1: `values` itself if the network has already applied the sigmoid function, else its sigmoid."""
    return values if activated else sigmoid(values)


def are_probabilities(values: Floats) -> bool:
    """Return True if all values lie in 0–1, apart from errors of quantisation."""
    return bool(values.size == 0 or (values.min() >= -0.02 and values.max() <= 1.02))

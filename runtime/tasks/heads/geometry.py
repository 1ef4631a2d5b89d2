"""Boxes, grids and activation functions that several layouts use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError

Floats = NDArray[np.float32]

STRIDE_SETS: tuple[tuple[int, ...], ...] = ((8, 16, 32), (8, 16, 32, 64), (16, 32), (4, 8, 16, 32))
"""Strides of common detectors, in pixels of the input per cell. Recognition tries them in this order."""


def cell_count(input_hw: tuple[int, int], strides: Sequence[int]) -> int:
    """Return the number of cells of all grids."""
    return sum((input_hw[0] // stride) * (input_hw[1] // stride) for stride in strides)


def strides_of(count: int, input_hw: tuple[int, int], per_cell: int = 1) -> tuple[int, ...] | None:
    """Return the strides of `STRIDE_SETS` whose grids have `count` candidates, or None if there are none."""
    fitting = (strides for strides in STRIDE_SETS if per_cell * cell_count(input_hw, strides) == count)
    return next(fitting, None)


@lru_cache(maxsize=32)
def cells(input_hw: tuple[int, int], strides: tuple[int, ...], per_cell: int = 1) -> Floats:
    """Return column, row and stride of each candidate, `[A,3]` float32, read-only.

    The grids follow each other in the order of `strides`. Within a grid, the cells are in row-major order, and the
    candidates of a cell follow each other.
    """
    grids = []
    for stride in strides:
        rows, columns = np.mgrid[: input_hw[0] // stride, : input_hw[1] // stride].reshape(2, -1)
        grids.append(np.stack([columns, rows, np.full_like(rows, stride)], axis=1).repeat(per_cell, axis=0))
    result = np.concatenate(grids).astype(np.float32)
    result.setflags(write=False)
    return result


def candidate_grid(count: int, input_hw: tuple[int, int], strides: Sequence[float]) -> Floats:
    """Return the cells of an output with one candidate per cell, see `cells`.

    Raises:
        BundleError: The output does not have one row per cell.
    """
    whole = tuple(max(1, int(stride)) for stride in strides)
    if cell_count(input_hw, whole) != count:
        cells_text = f"{cell_count(input_hw, whole)} cells for the strides {', '.join(map(str, whole))}"
        msg = f"the output has {count} rows, but the input of {input_hw[1]}x{input_hw[0]} pixels has {cells_text}"
        raise BundleError(msg)
    return cells(input_hw, whole)


def corners(centre_xy: Floats, size_wh: Floats) -> Floats:
    """Return boxes as left, top, right and bottom edge, `[N,4]`, from centres `[N,2]` and sizes `[N,2]`."""
    half = size_wh / 2
    return np.concatenate([centre_xy - half, centre_xy + half], axis=1).astype(np.float32, copy=False)


def pixels_xy(input_hw: tuple[int, int]) -> Floats:
    """Return width and height of the input, by which normalised points `[...,2]` are multiplied."""
    return np.array(input_hw[::-1], np.float32)


def sigmoid(logits: Floats) -> Floats:
    """Return the logistic function of logits. Large negative logits do not overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def softmax(logits: Floats) -> Floats:
    """Return the softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def expanded(logarithms: Floats) -> Floats:
    """Return the exponential function of logarithms of sizes. Absurd values are limited, so that nothing overflows."""
    return np.asarray(np.exp(np.clip(logarithms, -20, 20)), np.float32)


def as_probabilities(values: Floats, *, activated: bool) -> Floats:
    """Return scores 0–1: the values themselves if the network has applied the sigmoid function, else their sigmoid."""
    return values if activated else sigmoid(values)


def are_probabilities(values: Floats) -> bool:
    """Return True if all values are in 0–1, within the error of quantisation."""
    return bool(values.size == 0 or (values.min() >= -0.02 and values.max() <= 1.02))

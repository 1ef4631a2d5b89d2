"""Test a model with random input: it must run, and equal inputs must give equal outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

LIMIT_S = 120
"""Time limit in seconds for loading a file and running its first inferences, as it may contain an endless loop."""


SUM_TOLERANCE = 0.005
"""Maximum difference of a sum of probabilities from one, because of rounding in float16."""


def sample(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a test input: random numbers from 0 to 1 for floats, zeros for other types, which may be indices."""
    if np.dtype(dtype).kind != "f":
        return np.zeros(shape, dtype)
    return np.random.default_rng(0).random(shape).astype(dtype)


def differing(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> int | None:
    """Return the index of an output that differs between two inferences, or None if all are equal."""
    pairs = enumerate(zip(first, second, strict=True))
    return next((index for index, (array, again) in pairs if not _equal(array, again)), None)


def are_distributions(array: NDArray[Any]) -> bool:
    """Return True if an output `[1,...]` contains probabilities of classes, which add up to one for each position."""
    if array.dtype.kind != "f" or array.ndim < 2:
        return False
    bare = array.astype(np.float64).reshape([size for size in array.shape if size > 1] or [1])
    axes = {0, bare.ndim - 1}
    return bool(
        bare.size > 1
        and bare.min() >= -SUM_TOLERANCE
        and any(bare.shape[axis] > 1 and np.abs(bare.sum(axis=axis) - 1).max() <= SUM_TOLERANCE for axis in axes)
    )


def kind_of_values(array: NDArray[Any]) -> Literal["indices", "fractions"] | None:
    """Return the kind of the values of a float output: class indices, or fractions such as scores.

    Return None for other types, and if all values are 0 or 1, which is possible for both.
    """
    if array.dtype.kind != "f" or not array.size:
        return None
    if not np.array_equal(array, array.round()):
        return "fractions"
    return "indices" if array.min() >= 0 and array.max() > 1 else None


def _equal(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return True if two arrays are equal except for rounding, because threads may add numbers in a different order."""
    if first.shape != second.shape:
        return False
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    return bool(np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True))

"""Test a model with random input: it must run, and equal inputs must give equal outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LIMIT_S = 120
"""Time limit in seconds for loading a file and running its first inferences, as it may contain an endless loop."""


def sample(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return a test input: random numbers from 0 to 1 for floats, zeros for other types, which may be indices."""
    if np.dtype(dtype).kind != "f":
        return np.zeros(shape, dtype)
    return np.random.default_rng(0).random(shape).astype(dtype)


def differing(first: Sequence[NDArray[Any]], second: Sequence[NDArray[Any]]) -> int | None:
    """Return the index of an output that differs between two inferences, or None if all are equal."""
    pairs = enumerate(zip(first, second, strict=True))
    return next((index for index, (array, again) in pairs if not _equal(array, again)), None)


def _equal(first: NDArray[Any], second: NDArray[Any]) -> bool:
    """Return True if two arrays are equal except for rounding, because threads may add numbers in a different order."""
    if first.shape != second.shape:
        return False
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    return bool(np.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True))

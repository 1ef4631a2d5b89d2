"""Confidence intervals by resampling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
SEED = 20

Interval = tuple[float, float]


def intervals(
    compute: Callable[[NDArray[np.float64]], dict[str, float]], count: int, *, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the 95 % percentile bootstrap interval of every metric.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        compute: Function that takes the number of times each sample was drawn, `[count]`, and returns the metrics.
        count: Number of samples.
        resamples: Number of resamples.
    """
    rng = np.random.default_rng(SEED)
    samples: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
        for name, value in compute(weights).items():
            samples.setdefault(name, []).append(value)
    tail = 100 * (1 - LEVEL) / 2
    return {name: _percentiles(values, tail) for name, values in samples.items()}


def _percentiles(values: list[float], tail: float) -> Interval:
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)

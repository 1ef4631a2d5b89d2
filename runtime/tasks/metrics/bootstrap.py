"""Confidence intervals by resampling."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
LEVEL = 0.95
SEED = 20

Z = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""

FEW_SAMPLES = 100
"""Number of samples below which a warning is printed. With 100 samples, the interval of an accuracy of 0.90 is
±0.06."""

Interval = tuple[float, float]


def intervals(
    compute: Callable[[NDArray[np.float64]], dict[str, float]],
    count: int,
    *,
    resamples: int = RESAMPLES,
    are_shares: bool = False,
) -> dict[str, Interval]:
    """Return the 95 % percentile bootstrap interval of every metric.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13.

    Args:
        compute: Function that takes the number of times each sample was drawn, `[count]`, and returns the metrics.
        count: Number of samples.
        resamples: Number of resamples.
        are_shares: True if the metrics lie between 0 and 1. Wilson's interval then replaces the bootstrap for metrics
            with the same value in all resamples, such as an accuracy of 1, because the bootstrap would find no
            uncertainty.
    """
    rng = np.random.default_rng(SEED)
    samples: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(count, size=count), minlength=count).astype(np.float64)
        for name, value in compute(weights).items():
            samples.setdefault(name, []).append(value)
    tail = 100 * (1 - LEVEL) / 2
    found = {name: _percentiles(values, tail) for name, values in samples.items()}
    if are_shares:
        found |= {name: wilson(low, count) for name, (low, high) in found.items() if low == high}
    return found


def wilson(share: float, count: int) -> Interval:
    """Return the 95 % interval of a share of `count` samples.

    For means of values between 0 and 1, the interval is never too narrow, because values of only 0 and 1 have the
    largest variance.
    Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
    """
    ratio = Z**2 / count
    centre = (share + ratio / 2) / (1 + ratio)
    half = math.sqrt(share * (1 - share) * ratio + ratio**2 / 4) / (1 + ratio)
    return max(0.0, round(centre - half, 12)), min(1.0, round(centre + half, 12))


def few_samples(count: int) -> str | None:
    """Return a warning if there are too few samples for a precise accuracy. Otherwise, return None."""
    if count >= FEW_SAMPLES:
        return None
    low, high = wilson(0.9, count)
    return (
        f"{count} sample{'s say' if count > 1 else ' says'} little: an accuracy of 0.90 could be {low:.2f} to "
        f"{high:.2f}; use {FEW_SAMPLES} or more"
    )


def _percentiles(values: list[float], tail: float) -> Interval:
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, [tail, 100 - tail])
    return float(low), float(high)

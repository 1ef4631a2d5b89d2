"""Compute percentiles of times with confidence intervals.

A percentile is omitted if there are too few samples for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
PERCENTS = (50.0, 90.0, 99.0)

Z = 1.959964
"""Half the width of the 95 % interval of a normal distribution, in standard deviations."""

MLPERF_QUERIES, MLPERF_SECONDS = 1024, 60.0
"""Minimum numbers of queries and of seconds in a single-stream run. Source: Reddi et al., "MLPerf Inference Benchmark"
(2020), section 3.3."""

MIN_CORRELATED = 8
"""Minimum number of samples for an estimate of their autocorrelation."""


class Percentile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A percentile (nearest-rank method) with its 95 % confidence interval."""

    percent: float
    ms: float
    low_ms: float | None
    """Lower bound in milliseconds. None if consecutive times are so strongly correlated that there is no bound."""
    high_ms: float | None
    """Upper bound in milliseconds. None if consecutive times are so strongly correlated that there is no bound."""
    independent: int
    """Effective sample size for this percentile."""

    @property
    def error(self) -> float | None:
        """Standard error of the percentile's logarithm, computed from the interval. None if a bound is missing."""
        if self.low_ms is None or self.high_ms is None:
            return None
        return math.log(self.high_ms / self.low_ms) / (2 * Z)


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The percentiles of a series of times."""

    count: int
    percentiles: tuple[Percentile, ...]
    """The percentiles for which there are enough samples."""
    max_ms: float

    def at(self, percent: float) -> Percentile | None:
        """Return a percentile, or None if there are too few samples for it."""
        return next((percentile for percentile in self.percentiles if percentile.percent == percent), None)

    def withheld(self) -> dict[str, int]:
        """Return the number of samples that each omitted percentile needs. The keys are names such as `p99`."""
        return {f"p{percent:g}": min_samples(percent) for percent in PERCENTS if self.at(percent) is None}


def summarise(times_ms: ArrayLike, percents: Sequence[float] = PERCENTS) -> Summary:
    """Return the percentiles of times.

    Args:
        times_ms: Times in milliseconds, in the order of measurement.
        percents: Percentiles to compute, 0-100.

    Raises:
        ValueError: There are no times.
    """
    times = np.asarray(times_ms, np.float64)
    if not times.size:
        msg = "no samples"
        raise ValueError(msg)
    ordered = np.sort(times)
    percentiles = [_percentile(times, ordered, percent) for percent in percents]
    return Summary(
        times.size, tuple(percentile for percentile in percentiles if percentile is not None), float(ordered[-1])
    )


def min_samples(percent: float) -> int:
    """Return the number of samples that a percentile needs for a confidence interval with both bounds.

    The largest of n samples is below the percentile p with probability p^n. This gives 6 for p50, 36 for p90, 368 for
    p99.
    """
    rarer = max(percent, 100 - percent) / 100
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(rarer))


def mlperf_samples(percent: float, *, confidence: float = 0.99) -> int:
    """Return the number of samples that MLPerf requires for a percentile.

    Source: Reddi et al., "MLPerf Inference Benchmark" (2020), equations 1 and 2. The number is rounded up to a multiple
    of 8,192: 24,576 for p90 and 270,336 for p99.
    """
    share = percent / 100
    margin = (1 - share) / 20
    needed = NormalDist().inv_cdf((1 - confidence) / 2) ** 2 * share * (1 - share) / margin**2
    return math.ceil(needed / 8192) * 8192


def independent(times: NDArray[np.float64], percent: float) -> int:
    """Return the effective sample size for a percentile, computed from the autocorrelation of the times.

    Source: Geyer, "Practical Markov Chain Monte Carlo" (1992), the initial positive sequence.
    """
    count = times.size
    below = (times <= np.percentile(times, percent, method="inverted_cdf")).astype(np.float64)
    centred = below - below.mean()
    variance = float(centred @ centred) / count
    if variance == 0 or count < MIN_CORRELATED:
        return count
    spectrum = np.fft.rfft(centred, 1 << (2 * count - 1).bit_length())
    lags = np.fft.irfft(spectrum * spectrum.conj())[: count // 2] / (count * variance)
    pairs = lags[: lags.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    length = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else pairs.size
    correlation_time = 2 * float(pairs[:length].sum()) - 1
    return max(1, min(count, round(count / max(1.0, correlation_time))))


def _percentile(times: NDArray[np.float64], ordered: NDArray[np.float64], percent: float) -> Percentile | None:
    count = times.size
    if count < min_samples(percent):
        return None
    effective = independent(times, percent)
    low, high = ranks(effective, percent)
    value = float(ordered[max(1, math.ceil(count * percent / 100)) - 1])
    low_ms = None if low < 1 else float(ordered[max(1, math.floor(low / effective * count)) - 1])
    high_ms = None if high > effective else float(ordered[math.ceil(high / effective * count) - 1])
    return Percentile(percent, value, low_ms, high_ms, effective)


def ranks(count: int, percent: float) -> tuple[int, int]:
    """Return the ranks of the two ordered samples that enclose a percentile with 95 % confidence.

    The number of samples below the percentile is binomially distributed, whatever the distribution of the times. The
    function takes the two ranks whose coverage is nearest to 95 %, with tails as equal as possible. Source: Hahn and
    Meeker, "Statistical Intervals" (1991), section 5.2.

    Args:
        count: Number of samples.
        percent: The percentile, 0-100.

    Returns:
        The lower and the upper rank, counted from 1. A rank of 0 or `count + 1` means that there is no bound on that
            side.
    """
    first, cumulated = _binomial(count, percent / 100)
    last, middle = first + len(cumulated) - 1, math.floor(count * percent / 100)
    tail = (1 - CONFIDENCE) / 2
    unbounded = count < min_samples(percent)
    smallest, chosen = math.inf, (0, count + 1)
    for low in range(max(first, 0 if unbounded else 1), middle + 2):
        lower = float(cumulated[low - 1 - first]) if low > first else 0.0
        if lower > 2 * tail:
            break
        # The coverage of the interval [x_low, x_high) is P(low <= below < high).
        high = first + int(np.searchsorted(cumulated, 1 - 2 * tail + lower)) + 1
        for candidate in (high - 1, high, high + 1):
            if not max(low, middle) < candidate <= count + unbounded:
                continue
            upper = 1 - float(cumulated[min(candidate - 1, last) - first])
            deviation = abs(lower + upper - 2 * tail) + 0.3 * abs(lower - upper)
            if deviation < smallest:
                smallest, chosen = deviation, (low, candidate)
    return chosen


def _binomial(count: int, share: float) -> tuple[int, NDArray[np.float64]]:
    """Return the cumulative distribution of the number of samples below a percentile.

    Args:
        count: Number of samples.
        share: The percentile, 0-1.

    Returns:
        The smallest number of samples that is considered, which lies eight standard deviations below the mean, and the
            cumulative probabilities of this number and of each following number.
    """
    reach = math.ceil(8 * math.sqrt(count * share * (1 - share)) + 8)
    middle = math.floor(count * share)
    first, last = max(0, middle - reach), min(count, middle + reach)
    below = np.arange(first, last + 1)
    steps = np.log((count - below[:-1]) / (below[:-1] + 1)) + math.log(share / (1 - share))
    logarithms = np.concatenate([[0.0], np.cumsum(steps)])
    masses = np.exp(logarithms - logarithms.max())
    return first, np.cumsum(masses / masses.sum())

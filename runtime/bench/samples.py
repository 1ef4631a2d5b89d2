"""Raw times and their percentiles with confidence intervals. A percentile without enough samples is omitted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
PERCENTS = (50.0, 90.0, 99.0)

Z = 1.959964
"""Standard errors to both sides of a 95 % interval of a normal distribution."""

MLPERF_QUERIES, MLPERF_SECONDS = 1024, 60.0
"""Minimum queries and seconds of single-stream. Source: Reddi et al., "MLPerf Inference Benchmark" (2020), 3.3."""


class Percentile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One percentile by nearest rank, with its 95 % confidence interval, milliseconds."""

    percent: float
    ms: float
    low_ms: float | None
    high_ms: float | None
    """Upper end of the interval. None if correlation leaves no sample that bounds it."""
    independent: int
    """Effective sample size for this percentile."""

    @property
    def error(self) -> float | None:
        """Return the standard error of the logarithm, from the interval. None if the interval is unbounded."""
        if self.low_ms is None or self.high_ms is None:
            return None
        return math.log(self.high_ms / self.low_ms) / (2 * Z)


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Percentiles and maximum of a series of times. `percentiles` omits those without enough samples."""

    count: int
    percentiles: tuple[Percentile, ...]
    max_ms: float

    def at(self, percent: float) -> Percentile | None:
        """Return the percentile, or None without enough samples."""
        return next((one for one in self.percentiles if one.percent == percent), None)

    def withheld(self) -> dict[str, int]:
        """Return the omitted percentiles with the samples that each needs."""
        return {f"p{percent:g}": min_samples(percent) for percent in PERCENTS if self.at(percent) is None}


def summarise(times_ms: ArrayLike, percents: Sequence[float] = PERCENTS) -> Summary:
    """Summarise times, given in the order of their measurement.

    Raises:
        ValueError: There are no times.
    """
    times = np.asarray(times_ms, np.float64)
    if not times.size:
        msg = "no samples"
        raise ValueError(msg)
    ordered = np.sort(times)
    found = [_percentile(times, ordered, percent) for percent in percents]
    return Summary(times.size, tuple(one for one in found if one is not None), float(ordered[-1]))


def min_samples(percent: float) -> int:
    """Return the samples from which both ends of a percentile's confidence interval lie among the samples.

    The largest of n samples is below the percentile with probability p^n: 6 for p50, 36 for p90, 368 for p99.
    """
    rarer = max(percent, 100 - percent) / 100
    return math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(rarer))


def mlperf_samples(percent: float, *, confidence: float = 0.99) -> int:
    """Return the samples for a percentile within a twentieth of its distance to 100 %.

    Source: Reddi et al., "MLPerf Inference Benchmark" (2020), equations 1 and 2, which round up to 8,192: 24,576 for
    p90, 270,336 for p99.
    """
    from statistics import NormalDist

    share = percent / 100
    margin = (1 - share) / 20
    needed = NormalDist().inv_cdf((1 - confidence) / 2) ** 2 * share * (1 - share) / margin**2
    return math.ceil(needed / 8192) * 8192


def independent(times: NDArray[np.float64], percent: float) -> int:
    """Return the effective sample size for a percentile, from the autocorrelation of being below it.

    Source: Geyer, "Practical Markov Chain Monte Carlo" (1992), the initial positive sequence.
    """
    count = times.size
    below = (times <= np.percentile(times, percent, method="inverted_cdf")).astype(np.float64)
    centred = below - below.mean()
    variance = float(centred @ centred) / count
    if variance == 0 or count < 8:
        return count
    spectrum = np.fft.rfft(centred, 1 << (2 * count - 1).bit_length())
    lags = np.fft.irfft(spectrum * spectrum.conj())[: count // 2] / (count * variance)
    pairs = lags[: lags.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    ends = int(np.argmax(pairs <= 0)) if (pairs <= 0).any() else pairs.size
    time = 2 * float(pairs[:ends].sum()) - 1
    return max(1, min(count, round(count / max(1.0, time))))


def _percentile(times: NDArray[np.float64], ordered: NDArray[np.float64], percent: float) -> Percentile | None:
    count = times.size
    if count < min_samples(percent):
        return None
    worth = independent(times, percent)
    low, high = ranks(worth, percent)
    value = float(ordered[max(1, math.ceil(count * percent / 100)) - 1])
    first = None if low < 1 else float(ordered[max(1, math.floor(low / worth * count)) - 1])
    last = None if high > worth else float(ordered[math.ceil(high / worth * count) - 1])
    return Percentile(percent, value, first, last, worth)


def ranks(count: int, percent: float) -> tuple[int, int]:
    """Return the ranks, from 1, of the two of `count` ordered samples that enclose a percentile with 95 % confidence.

    0 or `count + 1` means that no sample bounds it on that side. The number of samples below the percentile is binomial
    for any distribution. Of the pairs of ranks around it, the pair with a coverage nearest to 95 % and the most even
    tails is chosen. Source: Hahn and Meeker, "Statistical Intervals" (1991), section 5.2.
    """
    share = percent / 100
    reach = math.ceil(8 * math.sqrt(count * share * (1 - share)) + 8)
    middle = math.floor(count * share)
    least, most = max(0, middle - reach), min(count, middle + reach)
    below = np.arange(least, most + 1)
    steps = np.log((count - below[:-1]) / (below[:-1] + 1)) + math.log(share / (1 - share))
    logarithms = np.concatenate([[0.0], np.cumsum(steps)])
    masses = np.exp(logarithms - logarithms.max())
    cumulated = np.cumsum(masses / masses.sum())  # probability of at most this many samples below
    aim = (1 - CONFIDENCE) / 2
    unbounded = count < min_samples(percent)
    best, chosen = math.inf, (0, count + 1)
    for low in range(max(least, 0 if unbounded else 1), middle + 2):
        lower = float(cumulated[low - 1 - least]) if low > least else 0.0
        if lower > 2 * aim:
            break
        # The coverage of [x_low, x_high) is P(low <= below < high).
        high = least + int(np.searchsorted(cumulated, 1 - 2 * aim + lower)) + 1
        for candidate in (high - 1, high, high + 1):
            if not max(low, middle) < candidate <= count + unbounded:
                continue
            upper = 1 - float(cumulated[min(candidate - 1, most) - least])
            off = abs(lower + upper - 2 * aim) + 0.3 * abs(lower - upper)
            if off < best:
                best, chosen = off, (low, candidate)
    return chosen

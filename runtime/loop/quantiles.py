"""Percentiles of a stream of times in constant memory, over all of it or over its last minute.

The buckets of the histogram grow by a constant factor, so that each percentile is within 1 % of the exact one. Source:
Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees" (2019).
"""

from __future__ import annotations

import math
from array import array

ERROR = 0.01
"""Relative error of each percentile."""

LEAST, GREATEST = 1e-3, 1e7
"""Range of distinguishable values, milliseconds: from a microsecond to some hours."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_SCALE = 1 / math.log(_GAMMA)
_FIRST = math.ceil(math.log(LEAST) * _SCALE)
_BUCKETS = math.ceil(math.log(GREATEST) * _SCALE) - _FIRST + 1

PARTS = 10
"""Number of parts of a window, which advances by one part at a time."""


class Quantiles:
    """Histogram of values. One thread adds, and others may read.

    Args:
        window_s: Length of the window, seconds. None counts everything.
    """

    def __init__(self, window_s: float | None = None) -> None:
        parts = 1 if window_s is None else PARTS + 1
        self._counts = [array("Q", bytes(8 * _BUCKETS)) for _ in range(parts)]
        self._maxima = [0.0] * parts
        self._part_ns = None if window_s is None else max(1, int(1e9 * window_s / PARTS))
        self._now = 0

    def add(self, value: float, now_ns: int = 0) -> None:
        """Count one value, milliseconds, at the monotonic clock `now_ns`."""
        place = 0
        if self._part_ns is not None:
            self._advance(now_ns // self._part_ns)
            place = self._now % len(self._counts)
        if value >= GREATEST:
            bucket = _BUCKETS - 1
        else:
            bucket = math.ceil(math.log(value) * _SCALE) - _FIRST if value > LEAST else 0
        self._counts[place][bucket] += 1
        if value > self._maxima[place]:
            self._maxima[place] = value

    def forget(self, now_ns: int) -> None:
        """Remove the values that have left the window by `now_ns`."""
        if self._part_ns is not None:
            self._advance(now_ns // self._part_ns)

    @property
    def count(self) -> int:
        """Return the number of values."""
        return sum(map(sum, self._counts))

    @property
    def max(self) -> float:
        """Return the exact maximum; 0 without values."""
        return max(self._maxima)

    def at(self, *percents: float) -> tuple[float, ...]:
        """Return percentiles by nearest rank, within `ERROR`; 0 without values."""
        total = (
            [sum(column) for column in zip(*self._counts, strict=True)] if len(self._counts) > 1 else self._counts[0]
        )
        count = sum(total)
        return tuple(self._value(total, max(1, math.ceil(count * percent / 100)), count) for percent in percents)

    def _value(self, total: list[int] | array[int], rank: int, count: int) -> float:
        if not count:
            return 0.0
        seen = 0
        for bucket, found in enumerate(total):
            seen += found
            if seen >= rank:
                # Return the relative centre of the bucket, but at most the observed maximum.
                return min(2 * _GAMMA ** (bucket + _FIRST) / (1 + _GAMMA), self.max)
        return self.max

    def _advance(self, part: int) -> None:
        """Empty the parts that the window has left."""
        for passed in range(max(self._now + 1, part - len(self._counts) + 1), part + 1):
            place = passed % len(self._counts)
            self._counts[place] = array("Q", bytes(8 * _BUCKETS))
            self._maxima[place] = 0.0
        self._now = max(self._now, part)

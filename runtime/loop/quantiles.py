"""Compute percentiles of a stream of times in constant memory, over all times or over a recent window.

The buckets of the histogram grow by a constant factor, so that each percentile is within 1 % of the exact one. Source:
Masson, Rim, Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees" (2019).
"""

from __future__ import annotations

import math
from array import array

ERROR = 0.01
"""Relative error of each percentile."""

MIN_MS, MAX_MS = 1e-3, 1e7
"""Smallest and largest time that the histogram distinguishes, in milliseconds: one microsecond and 2.8 hours."""

_GAMMA = (1 + ERROR) / (1 - ERROR)
_SCALE = 1 / math.log(_GAMMA)
_FIRST = math.ceil(math.log(MIN_MS) * _SCALE)
_BUCKETS = math.ceil(math.log(MAX_MS) * _SCALE) - _FIRST + 1

PARTS = 10
"""Number of parts into which a window is divided. The window advances by one part at a time."""


class Quantiles:
    """A histogram of times. One thread adds times, and any thread may read percentiles.

    Args:
        window_s: Length of the window in seconds. If None, all times are included.
    """

    def __init__(self, window_s: float | None = None) -> None:
        parts = 1 if window_s is None else PARTS + 1
        self._counts = [array("Q", bytes(8 * _BUCKETS)) for _ in range(parts)]
        self._maxima = [0.0] * parts
        self._part_ns = None if window_s is None else max(1, int(1e9 * window_s / PARTS))
        self._part = 0

    def add(self, value: float, now_ns: int = 0) -> None:
        """Add one time to the histogram.

        Args:
            value: Time in milliseconds.
            now_ns: Current time on the monotonic clock, in nanoseconds. Ignored if there is no window.
        """
        slot = 0
        if self._part_ns is not None:
            self._advance(now_ns // self._part_ns)
            slot = self._part % len(self._counts)
        if value >= MAX_MS:
            bucket = _BUCKETS - 1
        else:
            bucket = math.ceil(math.log(value) * _SCALE) - _FIRST if value > MIN_MS else 0
        self._counts[slot][bucket] += 1
        if value > self._maxima[slot]:
            self._maxima[slot] = value

    def forget(self, now_ns: int) -> None:
        """Remove the times that are older than the window. `now_ns` is the current time on the monotonic clock."""
        if self._part_ns is not None:
            self._advance(now_ns // self._part_ns)

    @property
    def count(self) -> int:
        """Return the number of times that were added."""
        return sum(map(sum, self._counts))

    @property
    def max(self) -> float:
        """Return the exact maximum in milliseconds, or 0 if there are no times."""
        return max(self._maxima)

    def at(self, *percents: float) -> tuple[float, ...]:
        """Return percentiles in milliseconds, with a relative error of at most `ERROR`, or 0 if there are no times."""
        total = (
            [sum(column) for column in zip(*self._counts, strict=True)] if len(self._counts) > 1 else self._counts[0]
        )
        count = sum(total)
        return tuple(self._value(total, max(1, math.ceil(count * percent / 100)), count) for percent in percents)

    def _value(self, total: list[int] | array[int], rank: int, count: int) -> float:
        if not count:
            return 0.0
        seen = 0
        for bucket, in_bucket in enumerate(total):
            seen += in_bucket
            if seen >= rank:
                # This value has the smallest possible relative error for the times in the bucket. It is limited to the
                # observed maximum.
                return min(2 * _GAMMA ** (bucket + _FIRST) / (1 + _GAMMA), self.max)
        return self.max

    def _advance(self, part: int) -> None:
        """Begin a new part of the window, and clear the parts that are older than the window."""
        for begun in range(max(self._part + 1, part - len(self._counts) + 1), part + 1):
            slot = begun % len(self._counts)
            self._counts[slot] = array("Q", bytes(8 * _BUCKETS))
            self._maxima[slot] = 0.0
        self._part = max(self._part, part)

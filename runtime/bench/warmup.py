"""When a machine has warmed up: caches, lazy initialisation, the clock's governor."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

WINDOW_S = 0.1
"""Times are judged by the median of so long, of three inferences at least."""

WINDOWS = 6
"""The older half of the last so many is compared with the newer."""

ALIKE = 0.02
"""Relative difference of both halves, below which they are alike."""

PATIENCE_S = 10.0
"""A machine that has not become steady by then is measured all the same, and the result says so."""


class WarmUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What went before the samples."""

    count: int
    """Inferences."""
    seconds: float
    steady: bool
    first_ms: float
    """The first inference, which is often another matter."""


class Steadiness:
    """Is fed the times of a warm-up, in their order."""

    def __init__(self) -> None:
        self._medians: list[float] = []
        self._window: list[float] = []
        self._began_s = self._window_s = 0.0
        self.count, self.seconds, self.first_ms = 0, 0.0, 0.0

    def add(self, time_ms: float, at_s: float) -> None:
        """One inference, that ended at so many seconds of any clock."""
        if not self.count:
            self.first_ms = time_ms
            self._began_s = self._window_s = at_s - time_ms / 1e3
        self.count += 1
        self.seconds = at_s - self._began_s
        self._window.append(time_ms)
        if len(self._window) >= 3 and at_s - self._window_s >= WINDOW_S:
            self._medians.append(statistics.median(self._window))
            self._window.clear()
            self._window_s = at_s

    @property
    def steady(self) -> bool:
        """Whether the last windows show no trend."""
        return is_steady(self._medians[-WINDOWS:])

    def summary(self) -> WarmUp:
        """For the result."""
        return WarmUp(self.count, round(self.seconds, 3), self.steady, round(self.first_ms, 4))


def is_steady(medians: Sequence[float], alike: float = ALIKE) -> bool:
    """Whether the newer half of some windows is as fast as the older half."""
    if len(medians) < WINDOWS:
        return False
    half = len(medians) // 2
    older, newer = statistics.median(medians[:half]), statistics.median(medians[half:])
    return abs(newer - older) <= alike * older

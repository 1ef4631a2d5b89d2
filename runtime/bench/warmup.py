"""Detect the end of the warm-up, in which caches fill, libraries initialise and the clock frequency rises."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

WINDOW_S = 0.1
"""Length of a window in seconds. A window has at least three inferences, and their median is used."""

WINDOWS = 6
"""Number of windows. The older half of them is compared with the newer half."""

ALIKE = 0.02
"""The two halves count as equal if they differ by less than this share."""

PATIENCE_S = 10.0
"""Maximum duration of the warm-up in seconds. If the times are not steady by then, the measurement
starts nevertheless, and a note is added to the result."""


class WarmUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The warm-up of a measurement."""

    count: int
    """Number of inferences."""
    seconds: float
    steady: bool
    first_ms: float
    """Time of the first inference in milliseconds. It often takes much longer than later ones."""


class Steadiness:
    """Detects steady times during a warm-up."""

    def __init__(self) -> None:
        self._medians: list[float] = []
        self._window: list[float] = []
        self._began_s = self._window_s = 0.0
        self.count, self.seconds, self.first_ms = 0, 0.0, 0.0

    def add(self, time_ms: float, at_s: float) -> None:
        """Add the time of one inference. `at_s` is the time in seconds, on any clock, at which it ended."""
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
        """Return True if the last windows show no trend."""
        return is_steady(self._medians[-WINDOWS:])

    def summary(self) -> WarmUp:
        """Return a summary of the warm-up."""
        return WarmUp(self.count, round(self.seconds, 3), self.steady, round(self.first_ms, 4))


def is_steady(medians: Sequence[float], alike: float = ALIKE) -> bool:
    """Return True if the newer half of the windows is as fast as the older half."""
    if len(medians) < WINDOWS:
        return False
    half = len(medians) // 2
    older, newer = statistics.median(medians[:half]), statistics.median(medians[half:])
    return abs(newer - older) <= alike * older

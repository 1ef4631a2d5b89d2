"""Detect when a machine under load reaches its thermal steady state, and compare burst and sustained times."""

from __future__ import annotations

import statistics

from orilla.runtime.bench.monitor import Second
from orilla.runtime.bench.result import Soak
from orilla.runtime.bench.samples import summarise
from orilla.runtime.bench.warmup import WINDOWS, is_steady

MAX_S = 1800.0
"""Default time limit of a soak in seconds. A board in a case needs 10 to 20 minutes to reach the steady state."""

BURST_S = 10.0
SUSTAINED_S = 60.0

SETTLED_S = 120.0
"""Duration in seconds for which temperature and times must be steady. It is divided into `WINDOWS` windows."""

SETTLED_C = 1.0
"""Maximum difference between the windows' mean temperatures in the steady state, in degrees Celsius."""


class Soaking:
    """Detects when the machine has reached a thermal steady state."""

    def __init__(self, seconds: list[Second], settled_s: float = SETTLED_S) -> None:
        self._seconds, self._window_s = seconds, settled_s / WINDOWS
        self._medians: list[float] = []
        self._window: list[float] = []
        self._ends_s = self._window_s
        self.settled_at_s: float | None = None

    def add(self, at_s: float, time_ms: float) -> bool:
        """Add the time of one inference. Return True if the machine has reached the steady state."""
        if at_s >= self._ends_s and self._window:
            self._medians.append(statistics.median(self._window))
            self._window.clear()
            self._ends_s = at_s + self._window_s
            if len(self._medians) >= WINDOWS and self._steady(at_s):
                self.settled_at_s = at_s
        self._window.append(time_ms)
        return self.settled_at_s is not None

    def _steady(self, at_s: float) -> bool:
        if not is_steady(self._medians[-WINDOWS:]):
            return False
        since = at_s - WINDOWS * self._window_s
        heat = [(second.at_s, second.temperature_c) for second in self._seconds if second.at_s >= since]
        readings = [(at, hot) for at, hot in heat if hot is not None]
        if not readings:
            return True
        middle = since + WINDOWS * self._window_s / 2
        halves = [hot for at, hot in readings if at < middle], [hot for at, hot in readings if at >= middle]
        if not all(halves):
            return False
        return abs(statistics.fmean(halves[1]) - statistics.fmean(halves[0])) <= SETTLED_C

    def summary(self, at_s: list[float], times_ms: list[float]) -> Soak:
        """Return the burst and sustained times."""
        last = at_s[-1]
        burst = [time for at, time in zip(at_s, times_ms, strict=True) if at <= BURST_S]
        sustained_s = min(SUSTAINED_S, last / 2)
        sustained = [time for at, time in zip(at_s, times_ms, strict=True) if at >= last - sustained_s]
        has_sensor = any(second.temperature_c is not None for second in self._seconds)
        return Soak(
            summarise(burst),
            summarise(sustained),
            self.settled_at_s is not None,
            None if self.settled_at_s is None else round(self.settled_at_s, 1),
            "temperature and times" if has_sensor else "only the times, because there is no temperature sensor",
            round(statistics.median(sustained) / statistics.median(burst), 4),
        )

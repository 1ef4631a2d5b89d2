"""`Ladder`: the settings of a degradation ladder, and `Climber`, which decides when a loop changes its rung.

A rung is a model that can answer the frames. The first rung is the best one, and each further rung is faster than the
one before it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from orilla.devices.errors import ConfigError

MIN_FRAMES = 10
"""Minimum number of frames on a rung before the loop may leave it. With fewer frames, one late frame would be 10 %."""

FIRST_FRAMES = 10
"""Number of frames at the start of a loop that are not counted. They are slower than later ones, because buffers and
caches are still empty, and their answers wait until the sinks have started."""

CALM_SHARE = 0.9
"""The loop steps up only while the p90 of the age is at most this share of the deadline."""

IMPROVED_SHARE = 0.85
"""The load counts as fallen if the median age or the median time of a frame is at most this share of its value right
after the step down."""

RETRY_S, MAX_RETRY_S = 60.0, 960.0
"""Time in seconds after which a better rung is tried although the load has not fallen. It doubles after each failed
attempt, up to the second number."""

FAILED_S = 10.0
"""An attempt has failed if the loop steps down again within this time in seconds."""

MAX_FAILURES = 4
"""Number of failed attempts after which the waiting times no longer double."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Settings of a degradation ladder, with which a loop uses a faster model while the machine is too slow.

    The age of a frame is the time from its capture until its answer is ready. If the p90 of the age exceeds the
    deadline, the loop steps down to the next rung. It steps up again when the load has fallen.

    Raises:
        ConfigError: A number is out of range.
    """

    deadline_ms: float
    """Maximum p90 of the age in milliseconds."""
    rungs: tuple[str, ...] = ()
    """Models that the loop may use instead of the opened one, starting with the best. Each is the name of a variant of
    the opened bundle, or another bundle of the same task with the same labels, such as one with a smaller input: `PATH`
    or `PATH:VARIANT`. If empty, the faster variants of the opened bundle are used, except variants that are slower and
    less accurate than another one."""
    window_s: float = 1.0
    """Length in seconds of the window over which percentiles are computed."""
    hold_s: float = 3.0
    """Time in seconds for which the load must be low before the loop steps up. It doubles after each failed attempt."""

    def __post_init__(self) -> None:
        for name, low in (("deadline_ms", 0.1), ("window_s", 0.1), ("hold_s", 0.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= 1e6:
                msg = f"{name}={value}: must be a number from {low:g} to 1e6"
                raise ConfigError(msg)
        if isinstance(self.rungs, str) or not all(isinstance(rung, str) and rung for rung in self.rungs):
            msg = f"rungs={self.rungs!r}: must be a tuple of names of variants or bundles"
            raise ConfigError(msg)


class _Sample(NamedTuple):
    """Times of one answered frame."""

    at_ns: int
    age_ms: float
    work_ms: float


class _Level(NamedTuple):
    """Medians of a window, in milliseconds."""

    age_ms: float
    work_ms: float


NO_LEVEL = _Level(math.inf, math.inf)
"""Level above every measured level. It is used after a step up, so that the load counts as fallen."""


class Climber:
    """Decides when a loop changes its rung. It reads no clock.

    The waiting times double after each attempt to step up that failed, as in rate adaptation of wireless networks.
    Source: Lacage, Manshaei, Turletti, "IEEE 802.11 Rate Adaptation: A Practical Approach" (2004), section 3.2.

    Args:
        settings: Settings of the ladder.
    """

    def __init__(self, settings: Ladder) -> None:
        self._settings = settings
        self._window_ns, self._deadline_ms = int(1e9 * settings.window_s), settings.deadline_ms
        self._samples: deque[_Sample] = deque()
        self._left_out = 0
        self.rung = 0
        """Index of the current rung. 0 is the best one."""
        self.p90_ms = 0.0
        """Newest p90 of the age in milliseconds."""
        self._since_ns = self._stepped_up_ns = self._calm_since_ns = self._retry_ns = 0
        self._failures = 0
        self._level: _Level | None = None
        """Median age and work time in the first full window after a step down. None until that window is complete."""

    def observe(self, now_ns: int, age_ms: float, work_ms: float) -> int:
        """Record an answered frame. Return 1 if the loop should step down, -1 if it should step up, else 0.

        Args:
            now_ns: Current time on the monotonic clock, in nanoseconds.
            age_ms: Age of the frame.
            work_ms: Time of the frame's preparation, inference and decoding.
        """
        if self._left_out < FIRST_FRAMES:
            self._left_out += 1
            return 0
        if now_ns - 1e6 * age_ms < self._since_ns:
            return 0  # The frame waited while a different rung answered the frame before it.
        samples = self._samples
        samples.append(_Sample(now_ns, age_ms, work_ms))
        while len(samples) > MIN_FRAMES and now_ns - samples[0].at_ns > self._window_ns:
            samples.popleft()
        if len(samples) < MIN_FRAMES:
            return 0
        self.p90_ms = _percentile([sample.age_ms for sample in samples], 90)
        if self.p90_ms > self._deadline_ms:
            self._calm_since_ns = 0
            return 1
        return -1 if self.rung and self._may_step_up(now_ns) else 0

    def moved(self, step: int, now_ns: int) -> None:
        """Record that the loop changed its rung. `step` is 1 for the next rung, and -1 for the one before."""
        self.rung += step
        if step > 0:
            has_failed = self._stepped_up_ns and now_ns - self._stepped_up_ns <= 1e9 * FAILED_S
            self._failures = min(self._failures + 1, MAX_FAILURES) if has_failed else 0
            self._level = None
            self._retry_ns = now_ns + int(1e9 * min(RETRY_S * (1 << self._failures), MAX_RETRY_S))
        else:
            self._stepped_up_ns = now_ns
            self._level = NO_LEVEL
        self._since_ns, self._calm_since_ns = now_ns, 0
        self._samples.clear()

    def _may_step_up(self, now_ns: int) -> bool:
        """Return True if the load has been low for long enough."""
        if now_ns - self._since_ns < self._window_ns:
            return False
        age_ms = _percentile([sample.age_ms for sample in self._samples], 50)
        work_ms = _percentile([sample.work_ms for sample in self._samples], 50)
        if self._level is None:
            self._level = _Level(age_ms, work_ms)
        has_fallen = age_ms <= IMPROVED_SHARE * self._level.age_ms or work_ms <= IMPROVED_SHARE * self._level.work_ms
        if self.p90_ms > CALM_SHARE * self._deadline_ms or not (has_fallen or now_ns >= self._retry_ns):
            self._calm_since_ns = 0
            return False
        self._calm_since_ns = self._calm_since_ns or now_ns
        return now_ns - self._calm_since_ns >= 1e9 * self._settings.hold_s * (1 << self._failures)


def _percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile by the nearest-rank method."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]

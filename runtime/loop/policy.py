"""The policies that select which frames of a source the loop processes."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, unknown_name

Name = Literal["latest", "every", "rate", "deadline"]

UNITS = {"rate": "hertz, as in `rate:5`", "deadline": "milliseconds, as in `deadline:80`"}
"""Unit of the number that each of these policies needs, with an example. The other policies take no number."""

MIN_VALUE, MAX_VALUE = 1e-6, 1e9
"""Smallest and largest number that a policy accepts."""

LIVE, RECORDED = "latest", "every"
"""Default policy for a live source, and for a recorded source."""


class Policy(msgspec.Struct, frozen=True):
    """The rule that selects which frames the loop processes.

    - `latest`: The newest frame. Older frames are dropped.
    - `every`: Every frame. If the loop is slower than the source, the source waits.
    - `rate:HZ`: HZ frames per second, one in each period. The other frames are dropped.
    - `deadline:MS`: The newest frame, unless it would be older than MS milliseconds at the start of its inference.
    """

    name: Name
    value: float | None = None
    """Rate in hertz for `rate`, maximum age in milliseconds for `deadline`, else None."""

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Parse `NAME` or `NAME:NUMBER`. Raise `ConfigError` if it is invalid."""
        name, colon, number = text.partition(":")
        if name not in ("latest", "every", *UNITS):
            raise unknown_name(name, ["latest", "every", "rate:HZ", "deadline:MS"], kind="policy")
        if name not in UNITS:
            if colon:
                msg = f"policy `{text}`: `{name}` takes no number"
                raise ConfigError(msg)
            return cls(name)  # type: ignore[arg-type]
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not MIN_VALUE <= value <= MAX_VALUE:
            msg = f"policy `{text}`: `{name}` needs a number in {UNITS[name]}"
            raise ConfigError(msg)
        return cls(name, value)  # type: ignore[arg-type]

    @property
    def needs_playback(self) -> bool:
        """Return True if the policy depends on the age of frames.

        A recorded source must then play at its frame rate.
        """
        return self.name in ("latest", "deadline")

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{repr(float(self.value)).removesuffix('.0')}"

    def __post_init__(self) -> None:
        if (self.name in UNITS) != (self.value is not None):
            needs = f"needs a number in {UNITS[self.name]}" if self.name in UNITS else "takes no number"
            msg = f"policy `{self.name}` {needs}"
            raise ConfigError(msg)


EARLY_SHARE = 0.25
"""A frame may arrive early by at most this share of a period, because cameras do not deliver frames at exactly equal
intervals."""


class Sampler:
    """Selects one frame per period. The mean rate is exact even if the intervals between frames vary."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._due_ns: float | None = None

    def selects(self, time_ns: int) -> bool:
        """Return True if a frame with this capture time is due."""
        if self._due_ns is None:
            self._due_ns = time_ns
        if time_ns < self._due_ns - EARLY_SHARE * self._period_ns:
            return False
        # After a gap, the periods start again, so that no extra frames are selected for the missed periods.
        self._due_ns = max(self._due_ns, time_ns - self._period_ns) + self._period_ns
        return True

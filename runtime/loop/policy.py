"""Policies, which select the frames of a source that are answered."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, unknown_name

Name = Literal["latest", "every", "rate", "deadline"]

UNITS = {"rate": "hertz, as in `rate:5`", "deadline": "milliseconds, as in `deadline:80`"}
"""Unit of the number that a policy needs, and an example. Other policies take no number."""

MIN_VALUE, MAX_VALUE = 1e-6, 1e9
"""Range of the numbers."""

LIVE, RECORDED = "latest", "every"
"""Default policies of a live source and of a recording."""


class Policy(msgspec.Struct, frozen=True):
    """The rule that selects which frames are answered.

    - `latest`: the newest frame; older ones are dropped.
    - `every`: every frame; if the loop is slower, the source waits.
    - `rate:HZ`: one frame per period of this rate; for a live source, the newest.
    - `deadline:MS`: the newest frame, unless it is older than this limit when its inference would begin.
    """

    name: Name
    value: float | None = None
    """Rate in hertz for `rate`, maximum age in milliseconds for `deadline`, else None."""

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Parse `NAME` or `NAME:NUMBER`. Raises `ConfigError`."""
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
        """Return True if the policy depends on the age of frames. A recording must then play at its own rate."""
        return self.name in ("latest", "deadline")

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{repr(float(self.value)).removesuffix('.0')}"

    def __post_init__(self) -> None:
        if (self.name in UNITS) != (self.value is not None):
            needs = f"needs a number in {UNITS[self.name]}" if self.name in UNITS else "takes no number"
            msg = f"policy `{self.name}` {needs}"
            raise ConfigError(msg)


EARLY_SHARE = 0.25
"""Share of a period by which a frame may arrive early, because cameras jitter."""


class Sampler:
    """Selects one frame per period. Its mean rate stays exact, however much the source jitters."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._due_ns: float | None = None

    def selects(self, time_ns: int) -> bool:
        """Return True if a frame with this capture time is due."""
        if self._due_ns is None:
            self._due_ns = time_ns
        if time_ns < self._due_ns - EARLY_SHARE * self._period_ns:
            return False
        # After a gap, the periods start again, so that the missed ones do not lead to more frames later.
        self._due_ns = max(self._due_ns, time_ns - self._period_ns) + self._period_ns
        return True

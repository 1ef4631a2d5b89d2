"""Policies: which frames of a source are answered, by name."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError, unknown_name

Name = Literal["latest", "every", "rate", "deadline"]

UNITS = {"rate": "hertz, as in rate:5", "deadline": "milliseconds, as in deadline:80"}
"""Policies that need a number, and what it is in."""

LEAST, GREATEST = 1e-6, 1e9
"""The range of their numbers."""

LIVE, RECORDED = "latest", "every"
"""The policies of a live source and of a file, where none is named."""


class Policy(msgspec.Struct, frozen=True):
    """Which frames are answered.

    - `latest`: the newest frame; one that is passed over is given up.
    - `every`: all frames; the source waits where the loop is slower.
    - `rate:HZ`: one frame in each period; of a live source the newest.
    - `deadline:MS`: the newest frame, unless it is older than this when its inference would begin.
    """

    name: Name
    value: float | None = None
    """Hertz of `rate`, milliseconds of `deadline`."""

    @classmethod
    def parse(cls, text: str) -> Policy:
        """Reads `NAME` or `NAME:NUMBER`; raises `ConfigError`."""
        name, colon, number = text.partition(":")
        if name not in ("latest", "every", *UNITS):
            msg = "policy"
            raise unknown_name(msg, name, ["latest", "every", "rate:HZ", "deadline:MS"])
        if name not in UNITS:
            if colon:
                msg = f"policy {text}: {name} takes no number"
                raise ConfigError(msg)
            return cls(name)  # type: ignore[arg-type]
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not LEAST <= value <= GREATEST:
            msg = f"policy {text}: {name} needs {UNITS[name]}"
            raise ConfigError(msg)
        return cls(name, value)  # type: ignore[arg-type]

    @property
    def plays(self) -> bool:
        """Whether time matters to it, so that a recording must be played as a camera would give it."""
        return self.name in ("latest", "deadline")

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{repr(float(self.value)).removesuffix('.0')}"

    def __post_init__(self) -> None:
        if (self.name in UNITS) != (self.value is not None):
            msg = f"policy {self.name} {'needs ' + UNITS[self.name] if self.name in UNITS else 'takes none'}"
            raise ConfigError(msg)


EARLY = 0.25
"""A frame may come this part of a period before it is due: cameras jitter."""


class Sampler:
    """One frame in each period of a rate."""

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 1e9 / rate_hz
        self._due_ns: float | None = None

    def takes(self, time_ns: int) -> bool:
        """Whether the frame of this time is due; the rate is kept on average, whatever the source's jitter."""
        if self._due_ns is None:
            self._due_ns = time_ns
        if time_ns < self._due_ns - EARLY * self._period_ns:
            return False
        # After a gap the count begins anew: what was missed is not made up for.
        self._due_ns = max(self._due_ns, time_ns - self._period_ns) + self._period_ns
        return True

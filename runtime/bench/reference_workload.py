"""A piece of work that is always the same, done between inferences: when it takes longer, it is the machine that is
slower, not the model.

A neighbour on the other thread of the same core, or on another machine of the same host, shows in no counter of this
system and slows an inference by a third. What was measured meanwhile is set aside.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from orilla.devices.detect import detect, identity
from orilla.devices.errors import ConfigError
from orilla.runtime.files import cache_folder, make_folder, write_bytes

WORK_MS = 0.1
"""Of the yardstick, about, on an undisturbed machine."""

EVERY_S = 0.05
"""Time between readings: they take a five-hundredth of the time."""

READINGS = 5
"""That are judged together, by their median."""

QUIET = 0.1
"""The share of windows by whose slowest the machine's own speed is told."""

SLOWER = 1.1
"""By which a window's readings are above that, before it is set aside. A clock that moves with the heat is slower in
smaller steps; a neighbour takes a quarter or more."""

HELD_DOWN = 1.25
"""By which a whole run is slower than this machine has been before, until all of it is set aside: a neighbour may stay
for minutes."""

FORGOTTEN_S = 30 * 86400.0
"""A machine may have changed since."""

PATIENCE = 3.0
"""Times the seconds that were asked for, until which a measurement waits for as many undisturbed ones."""


class ExcludedInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A stretch of a run in which the machine was slower."""

    from_s: float
    to_s: float


class Interference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the yardstick told of a run."""

    quiet_ns: float
    """The yardstick's step in the quietest windows."""
    worst_ns: float
    """In the slowest window."""
    known_ns: float | None
    """In the quietest windows of any run before, on this machine; None where there was none."""
    seconds: float
    """That were set aside."""

    @property
    def slowdown(self) -> float:
        """How much slower the machine was at times."""
        return self.worst_ns / min(self.quiet_ns, self.known_ns or self.quiet_ns)


class ReferenceWorkload:
    """Is read between inferences, every now and then.

    Args:
        known_ns: a step of it in the quietest windows of the runs before.
    """

    def __init__(self, known_ns: float | None = None) -> None:
        self._known_ns, self._count = known_ns, 500
        for _ in range(5):
            self._count = max(100, int(1e6 * WORK_MS / self._once()))
        self._next_s = 0.0
        self._readings: list[float] = []
        self._windows: list[tuple[float, float]] = []
        """End, seconds since the beginning, and median nanoseconds of a step, of each window."""

    def read(self, at_s: float) -> None:
        """Takes a reading, if it is time for one."""
        if at_s < self._next_s:
            return
        self._readings.append(self._once())
        self._next_s = at_s + EVERY_S
        if len(self._readings) == READINGS:
            self._windows.append((at_s, statistics.median(self._readings)))
            self._readings.clear()

    def quiet_s(self) -> float:
        """Seconds so far that are not set aside."""
        return (self._windows[-1][0] if self._windows else 0.0) - sum(one.to_s - one.from_s for one in self.aside())

    def aside(self) -> list[ExcludedInterval]:
        """The stretches in which the machine was slower."""
        if len(self._windows) < 4:
            return []
        found: list[ExcludedInterval] = []
        limit, begin = SLOWER * self._own_ns(), 0.0
        for end, median in self._windows:
            if median > limit:
                joined = found and found[-1].to_s == begin
                found[-1 if joined else len(found) :] = [ExcludedInterval(found[-1].from_s if joined else begin, end)]
            begin = end
        return found

    def summary(self) -> Interference | None:
        """For the result; None of a run too short for it."""
        if len(self._windows) < 4:
            return None
        worst = max(median for _, median in self._windows)
        seconds = sum(one.to_s - one.from_s for one in self.aside())
        return Interference(round(self._quiet_ns(), 4), round(worst, 4), self._known_ns, round(seconds, 3))

    def _own_ns(self) -> float:
        """A step at the machine's own speed."""
        quiet = self._quiet_ns()
        return quiet if self._known_ns is None or quiet <= HELD_DOWN * self._known_ns else self._known_ns

    def _quiet_ns(self) -> float:
        ordered = sorted(median for _, median in self._windows)
        return ordered[int(QUIET * (len(ordered) - 1))]

    def _once(self) -> float:
        """Nanoseconds of a step."""
        began, total = time.perf_counter_ns(), 0
        for number in range(self._count):
            total += number * number
        return (time.perf_counter_ns() - began) / self._count


def known_ns() -> float | None:
    """A step of the yardstick in the quietest windows of the runs on this machine so far; None before the first, and
    where the last was too long ago."""
    kept = _kept().get(_key())
    return kept.quiet_ns if kept is not None and time.time() - kept.at < FORGOTTEN_S else None


def remember(quiet_ns: float) -> None:
    """Keeps the best; where nothing can be kept, the next run begins without."""
    known = known_ns()
    if known is not None and known <= quiet_ns:
        return
    with suppress(OSError, ConfigError):
        make_folder(_file().parent)
        write_bytes(_file(), msgspec.json.encode({**_kept(), _key(): _Known(quiet_ns, time.time())}))


class _Known(msgspec.Struct, frozen=True):
    quiet_ns: float
    at: float
    """Seconds since 1970."""


def _kept() -> dict[str, _Known]:
    try:
        return msgspec.json.decode(_file().read_bytes(), type=dict[str, _Known])
    except (OSError, ConfigError, msgspec.DecodeError):
        return {}


def _file() -> Path:
    return cache_folder() / "reference_workload.json"


def _key() -> str:
    """A machine as far as its speed goes: what changes it makes another one of it."""
    machine = detect()
    return f"{identity()}, {machine.governor}, {machine.max_mhz} MHz, Python {sys.version}"


def outside(at_s: Sequence[float], aside: Sequence[ExcludedInterval]) -> list[bool]:
    """Of times in ascending order, which are in none of the stretches."""
    found, place = [], 0
    for at in at_s:
        while place < len(aside) and at >= aside[place].to_s:
            place += 1
        found.append(place == len(aside) or at < aside[place].from_s)
    return found

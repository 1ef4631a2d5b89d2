"""Run a fixed computation between inferences. If it takes longer than usual, the machine has become slower.

A program on the other hardware thread of the core, or in another virtual machine, can slow inference by a third, and no
counter of this system shows it. The intervals in which this happens are excluded from the result.
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
from orilla.devices.errors import ConfigError, DataError
from orilla.devices.gate import only_our_errors, read_file
from orilla.runtime.files import cache_folder, make_folder, write_bytes

WORK_MS = 0.1
"""Approximate duration in milliseconds of one run of the computation on an undisturbed machine."""

EVERY_S = 0.05
"""Interval between readings in seconds. All readings together take about 0.2 % of the measurement's duration."""

READINGS = 5
"""Number of readings in one window. The time of the window is their median."""

QUIET = 0.1
"""Share of all windows that count as quiet. The quiet windows are the fastest, and the slowest quiet window defines the
machine's own speed."""

SLOWER = 1.1
"""A window is excluded if it takes more than this multiple of the time at the machine's own speed. Heat changes the
clock frequency by less than this. Another program on the same core slows the machine by a quarter or more."""

HELD_DOWN = 1.25
"""If even the quiet windows take more than this multiple of the best time in earlier runs, all windows are compared
with that time instead, and the slower ones are excluded. This detects a program that slows the machine during the whole
run."""

FORGOTTEN_S = 30 * 86400.0
"""Age in seconds after which the speed measured in an earlier run is ignored. The machine may have changed since."""

PATIENCE = 3.0
"""Maximum duration of a measurement, as a multiple of the requested seconds. A disturbed measurement is prolonged up to
this limit."""


class ExcludedInterval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Interval of a run in which the machine was slower than usual."""

    from_s: float
    to_s: float


class Interference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Interference that the reference workload detected in a run."""

    quiet_ns: float
    """Time of one step in the quiet windows, in nanoseconds."""
    worst_ns: float
    """Time of one step in the slowest window, in nanoseconds."""
    known_ns: float | None
    """Best time of one step in earlier runs on this machine, in nanoseconds. None if there are no earlier runs."""
    seconds: float
    """Total length of all excluded intervals in seconds."""

    @property
    def slowdown(self) -> float:
        """Return the factor by which the slowest window was slower than the machine's usual speed."""
        return self.worst_ns / min(self.quiet_ns, self.known_ns or self.quiet_ns)


class ReferenceWorkload:
    """The fixed computation that is timed between inferences.

    Args:
        known_ns: Best time of one step in earlier runs, in nanoseconds. None if there are no earlier runs.
    """

    def __init__(self, known_ns: float | None = None) -> None:
        self._known_ns, self._count = known_ns, 500
        for _ in range(5):
            self._count = max(100, int(1e6 * WORK_MS / step_ns(self._count)))
        self._next_s = 0.0
        self._readings: list[float] = []
        self._windows: list[tuple[float, float]] = []
        """For each window, its end in seconds since the start, and the median time of one step in nanoseconds."""

    def read(self, at_s: float) -> None:
        """Time the computation if at least `EVERY_S` has passed since the last reading.

        Args:
            at_s: The current time in seconds since the start of the measurement.
        """
        if at_s < self._next_s:
            return
        self._readings.append(step_ns(self._count))
        self._next_s = at_s + EVERY_S
        if len(self._readings) == READINGS:
            self._windows.append((at_s, statistics.median(self._readings)))
            self._readings.clear()

    def quiet_s(self) -> float:
        """Return the time outside the excluded intervals, up to the end of the last window, in seconds."""
        return (self._windows[-1][0] if self._windows else 0.0) - sum(
            interval.to_s - interval.from_s for interval in self.excluded()
        )

    def excluded(self) -> list[ExcludedInterval]:
        """Return the intervals in which the machine was slower than usual."""
        if len(self._windows) < 4:
            return []
        intervals: list[ExcludedInterval] = []
        limit, begin = SLOWER * self._own_ns(), 0.0
        for end, median in self._windows:
            if median > limit:
                joined = intervals and intervals[-1].to_s == begin
                intervals[-1 if joined else len(intervals) :] = [
                    ExcludedInterval(intervals[-1].from_s if joined else begin, end)
                ]
            begin = end
        return intervals

    def summary(self) -> Interference | None:
        """Return the interference in this run, or None if the run was too short to detect any."""
        if len(self._windows) < 4:
            return None
        worst = max(median for _, median in self._windows)
        seconds = sum(interval.to_s - interval.from_s for interval in self.excluded())
        return Interference(round(self._quiet_ns(), 4), round(worst, 4), self._known_ns, round(seconds, 3))

    def _own_ns(self) -> float:
        """Return the time of one step at the machine's own speed, in nanoseconds."""
        quiet = self._quiet_ns()
        return quiet if self._known_ns is None or quiet <= HELD_DOWN * self._known_ns else self._known_ns

    def _quiet_ns(self) -> float:
        ordered = sorted(median for _, median in self._windows)
        return ordered[int(QUIET * (len(ordered) - 1))]


def step_ns(steps: int) -> float:
    """Run the computation once and return the time of one step in nanoseconds.

    Args:
        steps: Number of steps. Each is one multiplication and one addition.
    """
    began, total = time.perf_counter_ns(), 0
    for number in range(steps):
        total += number * number
    return (time.perf_counter_ns() - began) / steps


def known_ns() -> float | None:
    """Return the best time of one step in earlier runs on this machine, in nanoseconds.

    Return None if there are no earlier runs, or if the stored time is older than `FORGOTTEN_S`.
    """
    stored = _stored().get(_key())
    return stored.quiet_ns if stored is not None and time.time() - stored.at < FORGOTTEN_S else None


def remember(quiet_ns: float) -> None:
    """Store the time of one step for later runs if it is the best so far. Errors while writing are ignored."""
    stored_ns = known_ns()
    if stored_ns is not None and stored_ns <= quiet_ns:
        return
    with suppress(OSError, ConfigError):
        make_folder(_file().parent)
        write_bytes(_file(), msgspec.json.encode({**_stored(), _key(): _Known(quiet_ns, time.time())}))


MAX_BYTES = 4 << 20
"""Maximum size of the file with the stored times, in bytes."""


class _Known(msgspec.Struct, frozen=True):
    quiet_ns: float
    at: float
    """Time of the measurement in seconds since 1970."""


def _stored() -> dict[str, _Known]:
    try:
        with only_our_errors(_file()):
            known = msgspec.json.decode(read_file(_file(), MAX_BYTES), type=dict[str, _Known])
    except (DataError, ConfigError):
        return {}
    return {key: entry for key, entry in known.items() if entry.quiet_ns > 0}


def _file() -> Path:
    return cache_folder() / "reference_workload.json"


def _key() -> str:
    """Return a string with all properties of the machine and of Python on which the speed depends."""
    machine = detect()
    return f"{identity()}, {machine.governor}, {machine.max_mhz} MHz, Python {sys.version}"


def outside(at_s: Sequence[float], excluded: Sequence[ExcludedInterval]) -> list[bool]:
    """Return for each time whether it lies outside all excluded intervals.

    Args:
        at_s: The times in ascending order.
        excluded: The excluded intervals in ascending order.
    """
    mask, next_interval = [], 0
    for at in at_s:
        while next_interval < len(excluded) and at >= excluded[next_interval].to_s:
            next_interval += 1
        mask.append(next_interval == len(excluded) or at < excluded[next_interval].from_s)
    return mask

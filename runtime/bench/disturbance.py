"""Detect disturbances of a measurement. Disturbed intervals are excluded, or the whole result is marked invalid."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from orilla.runtime.bench.monitor import Monitor
from orilla.runtime.bench.reference_workload import PATIENCE, ExcludedInterval, Interference, ReferenceWorkload, outside

DISTURBED = 0.1
"""A result is invalid if more than this share of its seconds was disturbed."""

DRIFT = 0.05
"""A result is invalid if the medians of its first and last third differ by more than this share."""

CLOCK_FELL = 0.95
"""Slower intervals are attributed to the processor's clock if its mean frequency during these intervals was below this
share of its mean frequency during the rest of the run."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """The disturbances of one measurement."""

    invalid: list[str]
    notes: list[str]
    interference: Interference | None
    excluded: tuple[ExcludedInterval, ...]


def judge(monitor: Monitor, workload: ReferenceWorkload | None, seconds: float, *, soak: bool) -> Disturbance:
    """Find disturbances in the readings of the machine and of the reference workload.

    Args:
        monitor: Readings of the machine.
        workload: The reference workload, or None if it was not used.
        seconds: Duration of the measurement in seconds.
        soak: True for a soak, during which the machine is expected to heat up.
    """
    invalid = [] if soak else [f"the machine was throttled: {reason}" for reason in monitor.new_throttling()]
    notes: list[str] = []
    excluded: tuple[ExcludedInterval, ...] = ()
    interference = workload.summary() if workload is not None else None
    if workload is not None and interference is not None and interference.seconds:
        summary = f"the machine was up to {interference.slowdown:.2f} times slower, according to the reference workload"
        if _clock_fell(monitor, workload.excluded()):
            invalid.append(f"the clock frequency of the processor dropped, probably because of heat: {summary}")
        elif seconds - interference.seconds < seconds / PATIENCE:
            invalid.append(f"for {interference.seconds:.1f} of {seconds:.1f} s, {summary}")
        else:
            excluded = tuple(workload.excluded())
            notes.append(f"{interference.seconds:.1f} s of {seconds:.1f} s were excluded: {summary}")
    return Disturbance([*invalid, *_used_by_others(monitor, excluded)], notes, interference, excluded)


def _used_by_others(monitor: Monitor, excluded: tuple[ExcludedInterval, ...]) -> list[str]:
    """Return a message, in a list, if other programs used too much CPU time outside the excluded intervals."""
    mask = outside([second.at_s for second in monitor.seconds], excluded)
    seconds = [second for second, is_kept in zip(monitor.seconds, mask, strict=True) if is_kept]
    disturbed = [second for second in seconds if second.disturbed]
    if len(disturbed) <= DISTURBED * len(seconds):
        return []
    others = statistics.fmean(second.other_cores or 0.0 for second in disturbed)
    stolen = statistics.fmean(second.stolen_cores or 0.0 for second in disturbed)
    return [
        f"{len(disturbed)} of {len(seconds)} seconds were disturbed: other processes used {others:.2f} cores, and the "
        f"hypervisor took {stolen:.2f}"
    ]


def _clock_fell(monitor: Monitor, excluded: list[ExcludedInterval]) -> bool:
    """Return True if the clock frequency was lower in the excluded intervals than outside them.

    If so, the clock and not another program made these intervals slower.
    """
    mask = outside([second.at_s for second in monitor.seconds], excluded)
    halves: tuple[list[float], list[float]] = ([], [])
    for second, is_kept in zip(monitor.seconds, mask, strict=True):
        if second.mhz is not None:
            halves[is_kept].append(second.mhz)
    return all(halves) and statistics.fmean(halves[False]) < CLOCK_FELL * statistics.fmean(halves[True])


def drift(times: list[float]) -> list[str]:
    """Return a list with one message if the times drifted during the run, else an empty list."""
    third = len(times) // 3
    if third < 10:
        return []
    first, last = statistics.median(times[:third]), statistics.median(times[-third:])
    if abs(last / first - 1) <= DRIFT:
        return []
    return [f"p50 changed from {first:.3f} to {last:.3f} ms during the run"]

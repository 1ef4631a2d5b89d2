"""Whether something disturbed a measurement, and which part of it is set aside for that."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from orilla.runtime.bench.monitor import Monitor
from orilla.runtime.bench.reference_workload import PATIENCE, ExcludedInterval, Interference, ReferenceWorkload, outside

DISTURBED = 0.1
"""Share of disturbed seconds from which on a run is marked invalid."""

DRIFT = 0.05
"""Relative difference of the medians of a run's first and last third from which on it is marked invalid."""

CLOCK_FELL = 0.95
"""Of the clock in quiet stretches, below which it explains that others were slower."""


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What is said of a run."""

    invalid: list[str]
    notes: list[str]
    company: Interference | None
    aside: tuple[ExcludedInterval, ...]


def judge(monitor: Monitor, yardstick: ReferenceWorkload | None, seconds: float, *, soak: bool) -> Disturbance:
    """What the machine's counters and the yardstick have against a run.

    Args:
        seconds: that the samples were taken over.
        soak: whether the machine was to get hot.
    """
    invalid = [] if soak else [f"the machine was slowed down: {reason}" for reason in monitor.new_throttling()]
    notes: list[str] = []
    aside: tuple[ExcludedInterval, ...] = ()
    company = yardstick.summary() if yardstick is not None else None
    if yardstick is not None and company is not None and company.seconds:
        told = f"the machine was slower than it can be, by its yardstick up to {company.slowdown:.2f} times"
        if _clock_fell(monitor, yardstick.aside()):
            invalid.append(f"the clock fell meanwhile, as it does with heat: {told}")
        elif seconds - company.seconds < seconds / PATIENCE:
            invalid.append(f"in {company.seconds:.1f} of {seconds:.1f} s {told}")
        else:
            aside = tuple(yardstick.aside())
            notes.append(f"{company.seconds:.1f} of {seconds:.1f} s are set aside: {told}")
    return Disturbance([*invalid, *_used_by_others(monitor, aside)], notes, company, aside)


def _used_by_others(monitor: Monitor, aside: tuple[ExcludedInterval, ...]) -> list[str]:
    """Whether others used the machine, in the seconds that are not set aside."""
    stays = outside([one.at_s for one in monitor.seconds], aside)
    seconds = [one for one, kept in zip(monitor.seconds, stays, strict=True) if kept]
    disturbed = [one for one in seconds if one.disturbed]
    if len(disturbed) <= DISTURBED * len(seconds):
        return []
    others = statistics.fmean(one.other_cores or 0.0 for one in disturbed)
    stolen = statistics.fmean(one.stolen_cores or 0.0 for one in disturbed)
    return [
        f"{len(disturbed)} of {len(seconds)} seconds were disturbed: other processes used {others:.2f} cores, the "
        f"hypervisor took {stolen:.2f}"
    ]


def _clock_fell(monitor: Monitor, aside: list[ExcludedInterval]) -> bool:
    """Whether it is the clock that was slower in these stretches, which is the machine's own doing."""
    stays = outside([one.at_s for one in monitor.seconds], aside)
    halves: tuple[list[float], list[float]] = ([], [])
    for one, kept in zip(monitor.seconds, stays, strict=True):
        if one.mhz is not None:
            halves[kept].append(one.mhz)
    return all(halves) and statistics.fmean(halves[False]) < CLOCK_FELL * statistics.fmean(halves[True])


def drift(times: list[float]) -> list[str]:
    """Whether the times moved within the run."""
    third = len(times) // 3
    if third < 10:
        return []
    first, last = statistics.median(times[:third]), statistics.median(times[-third:])
    if abs(last / first - 1) <= DRIFT:
        return []
    return [f"p50 went from {first:.3f} to {last:.3f} ms within the run"]

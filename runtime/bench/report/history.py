"""Show how the results in a folder changed from run to run, for each subject on each machine."""

from __future__ import annotations

from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.bench.result import Result, describe, read_all
from orilla.runtime.bench.verdict import Verdict, compare


class Trend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The runs of one subject on one machine, in chronological order."""

    subject: str
    machine: str
    created: tuple[str, ...]
    p50_ms: tuple[float, ...]
    valid: tuple[bool, ...]
    last: Verdict | None
    """Comparison of the newest run with the previous one, or None if there is only one run."""


def trends(folder: Path) -> list[Trend]:
    """Return the trends in a folder of results. Runs with different versions of the engine or bundle form one trend.

    Raises:
        DataError: The folder contains no results.
    """
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in read_all(folder):
        subject = result.subject
        key = (subject.bundle, subject.variant, subject.engine, subject.threads, subject.scenario, subject.streams)
        groups.setdefault((*key, result.host.identity), []).append(result)
    return [_trend(results) for results in groups.values()]


def _trend(results: list[Result]) -> Trend:
    newest = results[-1]
    return Trend(
        describe(newest.subject),
        newest.host.identity,
        tuple(result.created for result in results),
        tuple(_p50(result) for result in results),
        tuple(result.valid and result.complete for result in results),
        _last(results),
    )


def _last(results: list[Result]) -> Verdict | None:
    if len(results) < 2:
        return None
    try:
        return compare(results[-2:-1], results[-1:])
    except ConfigError:  # Skip the comparison if a run has too few samples.
        return None


def _p50(result: Result) -> float:
    percentile = result.main.at(50)
    return round(percentile.ms if percentile is not None else result.main.max_ms, 4)

"""A folder of results: what each thing took on each machine, from run to run."""

from __future__ import annotations

from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.bench.result import Result, describe, read_all
from orilla.runtime.bench.verdict import Verdict, compare


class Trend(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing on one machine."""

    subject: str
    machine: str
    created: tuple[str, ...]
    p50_ms: tuple[float, ...]
    valid: tuple[bool, ...]
    last: Verdict | None
    """The newest run against the one before; None of a single run."""


def trends(folder: Path) -> list[Trend]:
    """What a history tells; other versions of an engine or a bundle are points of the same line.

    Raises:
        DataError: not a folder of results.
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
    except ConfigError:  # too few samples
        return None


def _p50(result: Result) -> float:
    found = result.main.at(50)
    return round(found.ms if found is not None else result.main.max_ms, 4)

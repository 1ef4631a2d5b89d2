"""Time several sessions interleaved, so that a disturbance affects all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orilla.runtime.bench.timing import time_call
from orilla.runtime.bundle.golden import KnownFrame
from orilla.runtime.engines.session import Session

WARM_UP = 3
EACH = 6
"""Inferences of one session before the next one."""


def timed(session: Session, known: Sequence[KnownFrame], count: int, ends: float = float("inf")) -> list[float]:
    """Return the milliseconds of `count` inferences. Stop after at least one when `perf_counter` reaches `ends`."""
    times: list[float] = []
    while len(times) < count and (not times or time.perf_counter() < ends):
        prepared = known[len(times) % len(known)].prepared
        times.append(time_call(session.run, prepared)[1])
    return times


def warm_up(sessions: Sequence[Session], known: Sequence[Sequence[KnownFrame]], ends: float = float("inf")) -> None:
    """Run a few inferences of each session, at least one."""
    for session, inputs in zip(sessions, known, strict=True):
        timed(session, inputs, WARM_UP, ends)


def interleaved(
    sessions: Sequence[Session], known: Sequence[Sequence[KnownFrame]], count: int, ends: float
) -> list[list[float]]:
    """Return the milliseconds of each session, interleaved, until each has `count` or the time ends.

    Each session runs at least once.

    Args:
        sessions: The sessions.
        known: Inputs of each session.
        count: Inferences of each session.
        ends: End of the measurement by `time.perf_counter`.
    """
    found: list[list[float]] = [[] for _ in sessions]
    while True:
        for times, session, inputs in zip(found, sessions, known, strict=True):
            times += timed(session, inputs, EACH, ends)
        if time.perf_counter() >= ends or all(len(times) >= count for times in found):
            return found

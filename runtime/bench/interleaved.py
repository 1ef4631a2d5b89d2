"""Several sessions timed in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orilla.runtime.bundle.golden import KnownFrame
from orilla.runtime.engines.session import Session

WARM_UP = 3
EACH = 6
"""Inferences of one session before the next one has its turn."""


def timed(session: Session, known: Sequence[KnownFrame], count: int, ends: float = float("inf")) -> list[float]:
    """Milliseconds of so many inferences; of fewer, but one, where the time is over by `time.perf_counter`."""
    times: list[float] = []
    while len(times) < count and (not times or time.perf_counter() < ends):
        prepared = known[len(times) % len(known)].prepared
        began = time.perf_counter_ns()
        session.run(prepared)
        times.append((time.perf_counter_ns() - began) / 1e6)
    return times


def warm_up(sessions: Sequence[Session], known: Sequence[Sequence[KnownFrame]], ends: float = float("inf")) -> None:
    """A few inferences of each, of one at least."""
    for session, inputs in zip(sessions, known, strict=True):
        timed(session, inputs, WARM_UP, ends)


def interleaved(
    sessions: Sequence[Session], known: Sequence[Sequence[KnownFrame]], count: int, ends: float
) -> list[list[float]]:
    """Milliseconds of each, in turns, until each has `count` or the time is over; each has a turn at least.

    Args:
        known: the inputs of each.
    """
    found: list[list[float]] = [[] for _ in sessions]
    while True:
        for times, session, inputs in zip(found, sessions, known, strict=True):
            times += timed(session, inputs, EACH, ends)
        if time.perf_counter() >= ends or all(len(times) >= count for times in found):
            return found

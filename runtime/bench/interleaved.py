"""Time several sessions interleaved, so that a disturbance affects all of them."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orilla.runtime.bench.timing import time_call
from orilla.runtime.bundle.golden import KnownFrame
from orilla.runtime.engines.session import Session

WARM_UP = 3
EACH = 6
"""Number of inferences of one session before the next session runs."""


def timed(session: Session, frames: Sequence[KnownFrame], count: int, ends: float = float("inf")) -> list[float]:
    """Return the times of `count` inferences in milliseconds; fewer, but at least one, if `ends` comes first."""
    times: list[float] = []
    while len(times) < count and (not times or time.perf_counter() < ends):
        prepared = frames[len(times) % len(frames)].prepared
        times.append(time_call(session.run, prepared)[1])
    return times


def warm_up(sessions: Sequence[Session], frames: Sequence[Sequence[KnownFrame]], ends: float = float("inf")) -> None:
    """Run a few inferences of each session, at least one, until the time `ends`."""
    for session, inputs in zip(sessions, frames, strict=True):
        timed(session, inputs, WARM_UP, ends)


def interleaved(
    sessions: Sequence[Session], frames: Sequence[Sequence[KnownFrame]], count: int, ends: float
) -> list[list[float]]:
    """Return the milliseconds of each session, interleaved, until each has `count` or the time ends.

    Each session runs at least once.

    Args:
        sessions: The sessions.
        frames: Inputs of each session.
        count: Inferences of each session.
        ends: End of the measurement by `time.perf_counter`.
    """
    samples: list[list[float]] = [[] for _ in sessions]
    while True:
        for times, session, inputs in zip(samples, sessions, frames, strict=True):
            times += timed(session, inputs, EACH, ends)
        if time.perf_counter() >= ends or all(len(times) >= count for times in samples):
            return samples

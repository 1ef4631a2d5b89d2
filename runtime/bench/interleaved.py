"""Time several sessions in turn, so that a disturbance of the machine affects all of them equally."""

from __future__ import annotations

import time
from collections.abc import Sequence

from orilla.runtime.bench.timing import time_call
from orilla.runtime.bundle.golden import KnownFrame
from orilla.runtime.engines.session import Session

WARM_UP = 3
EACH = 6
"""Number of consecutive inferences in one session before the next session runs."""


def timed(session: Session, frames: Sequence[KnownFrame], count: int, ends: float = float("inf")) -> list[float]:
    """Return the times in milliseconds of `count` inferences, or of fewer if the time `ends` is reached first.

    At least one inference runs. `ends` is in seconds on the clock of `time.perf_counter`.
    """
    times: list[float] = []
    while len(times) < count and (not times or time.perf_counter() < ends):
        prepared = frames[len(times) % len(frames)].prepared
        times.append(time_call(session.run, prepared)[1])
    return times


def warm_up(sessions: Sequence[Session], frames: Sequence[Sequence[KnownFrame]], ends: float = float("inf")) -> None:
    """Run a few inferences on each session, or only one each if the time `ends` has passed.

    `ends` has the same meaning as in `timed`.
    """
    for session, inputs in zip(sessions, frames, strict=True):
        timed(session, inputs, WARM_UP, ends)


def interleaved(
    sessions: Sequence[Session], frames: Sequence[Sequence[KnownFrame]], count: int, ends: float
) -> list[list[float]]:
    """Run several sessions in turn. Return the inference times of each session in milliseconds.

    The measurement ends when each session has run `count` inferences, or at the time `ends`. Each session runs at least
    once.

    Args:
        sessions: The sessions.
        frames: The inputs of each session.
        count: Minimum number of inferences of each session.
        ends: Time at which the measurement ends, in seconds on the clock of `time.perf_counter`.
    """
    samples: list[list[float]] = [[] for _ in sessions]
    while True:
        for times, session, inputs in zip(samples, sessions, frames, strict=True):
            times += timed(session, inputs, EACH, ends)
        if time.perf_counter() >= ends or all(len(times) >= count for times in samples):
            return samples

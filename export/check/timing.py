"""Time the variants on this machine, interleaved, so that a disturbance affects all of them."""

from __future__ import annotations

import time

import numpy as np

from orilla.devices.cores import loop_threads
from orilla.devices.detect import detect
from orilla.export.samples import Inputs, row
from orilla.runtime.bundle.manifest import Latency
from orilla.runtime.engines import loader

ROUNDS, EACH = 20, 10
"""Number of rounds, and inferences of each variant per round."""

SECONDS = 1.0
"""Time limit of one variant, seconds."""

MIN_TAIL = 100
"""Minimum number of inferences for a 90th percentile: ten lie above it."""


def latencies(files: dict[str, tuple[str, bytes]], inputs: Inputs) -> dict[str, Latency]:
    """Time one inference of each variant, with as many threads as a loop uses.

    Args:
        files: Engine and content of each variant, by name.
        inputs: Prepared samples.
    """
    sessions = {name: loader.load_bytes(engine, data) for name, (engine, data) in files.items()}
    sample = row(inputs, 0)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    spent = dict.fromkeys(sessions, 0.0)
    for (
        name,
        session,
    ) in (
        sessions.items()
    ):  # The first inference allocates memory. It counts only if the variant is too slow for another one.
        started = time.perf_counter_ns()
        session.run(sample)
        taken = (time.perf_counter_ns() - started) / 1e6
        if taken > 1e3 * SECONDS:
            times[name].append(taken)
            spent[name] = taken / 1e3
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            for _ in range(EACH):
                if spent[name] > SECONDS:
                    break
                started = time.perf_counter_ns()
                session.run(sample)
                taken = (time.perf_counter_ns() - started) / 1e6
                times[name].append(taken)
                spent[name] += taken / 1e3
    for session in sessions.values():
        session.close()
    return {name: _latency(taken) for name, taken in times.items()}


def timed_on() -> str:
    """Return the machine and the threads of the timing, for the report."""
    threads = loop_threads()
    return f"{detect()}, {threads} thread{'s' if threads > 1 else ''}"


def _latency(taken: list[float]) -> Latency:
    p90 = float(np.percentile(taken, 90)) if len(taken) >= MIN_TAIL else None
    return Latency(round(float(np.median(taken)), 4), None if p90 is None else round(p90, 4), len(taken))

"""How fast the variants are here: in turns, so that what disturbs one disturbs all."""

from __future__ import annotations

import time

import numpy as np

from orilla.devices.cores import loop_threads
from orilla.devices.detect import detect
from orilla.export.samples import Inputs, row
from orilla.runtime.bundle.manifest import Latency
from orilla.runtime.engines import loader

ROUNDS, EACH = 20, 10
"""In every round each variant makes so many inferences."""

SECONDS = 1.0
"""A variant that has used so much time leaves the rounds."""

MIN_TAIL = 100
"""Inferences that a 90th percentile takes at least: ten lie above it."""


def latencies(files: dict[str, tuple[str, bytes]], inputs: Inputs) -> dict[str, Latency]:
    """Times one inference of each variant, with the threads that a loop gives it.

    Args:
        files: engine and content by the variant's name.
    """
    sessions = {name: loader.load_bytes(engine, data) for name, (engine, data) in files.items()}
    sample = row(inputs, 0)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    spent = dict.fromkeys(sessions, 0.0)
    for name, session in sessions.items():  # the first inference allocates, and counts where there will be no other
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
    """The machine and the threads of the timing, for the report."""
    threads = loop_threads()
    return f"{detect()}, {threads} thread{'s' if threads > 1 else ''}"


def _latency(taken: list[float]) -> Latency:
    p90 = float(np.percentile(taken, 90)) if len(taken) >= MIN_TAIL else None
    return Latency(round(float(np.median(taken)), 4), None if p90 is None else round(p90, 4), len(taken))

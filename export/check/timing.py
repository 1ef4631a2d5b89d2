"""Measure the latencies of the variants on this machine. They take turns, so a disturbance affects all variants."""

from __future__ import annotations

import time

import numpy as np

from orilla.devices.cores import loop_threads
from orilla.devices.detect import detect
from orilla.export.data.prepared import Inputs, row
from orilla.runtime.bundle.manifest import Latency
from orilla.runtime.engines import loader
from orilla.runtime.engines.session import Session
from orilla.runtime.preprocessing.input_kind import ModelInput

ROUNDS, RUNS = 20, 10
"""Number of rounds, and number of inferences of each variant in one round."""

SECONDS = 1.0
"""Time limit for the inferences of one variant, in seconds."""

MIN_TAIL = 100
"""Minimum number of inferences for a 90th percentile. At least ten of the measured times then exceed the percentile."""


def latencies(files: dict[str, tuple[str, bytes]], inputs: Inputs) -> dict[str, Latency]:
    """Measure the latency of each variant, with the number of threads that a camera loop uses.

    Args:
        files: Engine and content of the model file of each variant, by name.
        inputs: Prepared samples. Every inference uses the first sample.
    """
    sessions = {name: loader.load_bytes(engine, data) for name, (engine, data) in files.items()}
    sample = row(inputs, 0)
    times_ms: dict[str, list[float]] = {}
    for name, session in sessions.items():
        first_ms = _run(session, sample)
        # The first inference is slower, because it allocates memory. Its time is used only if it exceeds the time
        # limit, because no other inference follows then.
        times_ms[name] = [first_ms] if first_ms > 1e3 * SECONDS else []
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            for _ in range(RUNS):
                if sum(times_ms[name]) <= 1e3 * SECONDS:
                    times_ms[name].append(_run(session, sample))
    for session in sessions.values():
        session.close()
    return {name: _latency(times) for name, times in times_ms.items()}


def _run(session: Session, sample: ModelInput) -> float:
    """Return the time of one inference in milliseconds."""
    started = time.perf_counter_ns()
    session.run(sample)
    return (time.perf_counter_ns() - started) / 1e6


def timed_on() -> str:
    """Return a string for the report that names the machine and the number of threads."""
    threads = loop_threads()
    return f"{detect()}, {threads} thread{'s' if threads > 1 else ''}"


def _latency(times_ms: list[float]) -> Latency:
    p90 = float(np.percentile(times_ms, 90)) if len(times_ms) >= MIN_TAIL else None
    return Latency(round(float(np.median(times_ms)), 4), None if p90 is None else round(p90, 4), len(times_ms))

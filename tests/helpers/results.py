"""Artificial benchmark results, with times drawn from a distribution, on a machine with a given name."""

import numpy as np

from orilla.runtime.bench.result import SCHEMA, BenchmarkSubject, ColdStart, Host, Result
from orilla.runtime.bench.samples import summarise
from orilla.runtime.bench.warmup import WarmUp


def made(
    ms=4.0,
    *,
    count=2000,
    spread=0.03,
    seed=0,
    machine="board",
    variant="litert_wi8_ai8",
    scenario="single-stream",
    created="2026-01-01T00:00:00+00:00",
    **more,
):
    """Return a result with a p50 of `ms`."""
    rng = np.random.default_rng(seed)
    times = (ms * np.exp(rng.normal(0, spread, count))).tolist()
    stage = {"single-stream": "infer", "multi-stream": "query", "offline": "sample", "loop": "age"}[scenario]
    at_s = np.cumsum([0.0, *times[:-1]]) / 1e3
    given = {
        "schema": SCHEMA,
        "created": created,
        "subject": BenchmarkSubject("road", "0" * 64, variant, "litert", "litert 2", 1, scenario),
        "host": Host(machine, f"{machine}, aarch64, 4 cores, 4 GiB", 4, "3.11.2", "0.1.0", {"ai-edge-litert": "2.3.0"}),
        "seconds": float(sum(times)) / 1e3,
        "complete": True,
        "valid": True,
        "invalid": (),
        "notes": (),
        "warm_up": WarmUp(10, 0.1, steady=True, first_ms=9.0),
        "samples_ms": {stage: times},
        "at_s": at_s.tolist(),
        "summary": {stage: summarise(times)},
        "per_second": 1e3 / ms,
        "cpu_ms": ms,
        "peak_mib": 80.0,
        "cold_start": ColdStart(50.0, 20.0, 21.0, 70.0),
        "timeline": (),
    }
    return Result(**given | more)

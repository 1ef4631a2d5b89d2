"""Artificial benchmark results. Their times are random numbers, and the caller gives the name of the machine."""

from typing import Any

import numpy as np

from orilla.runtime.bench.result import SCHEMA, BenchmarkSubject, ColdStart, Host, Result, Scenario
from orilla.runtime.bench.samples import summarise
from orilla.runtime.bench.warmup import WarmUp


def made(
    ms: float = 4.0,
    *,
    count: int = 2000,
    spread: float = 0.03,
    seed: int = 0,
    machine: str = "board",
    variant: str = "litert_wi8_ai8",
    scenario: Scenario = "single-stream",
    created: str = "2026-01-01T00:00:00+00:00",
    **other_fields: Any,
) -> Result:
    """Return a result with a p50 of `ms`."""
    rng = np.random.default_rng(seed)
    times = (ms * np.exp(rng.normal(0, spread, count))).tolist()
    stage = {"single-stream": "infer", "multi-stream": "query", "offline": "sample", "loop": "age"}[scenario]
    at_s = np.cumsum([0.0, *times[:-1]]) / 1e3
    values: dict[str, Any] = {
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
    return Result(**values | other_fields)

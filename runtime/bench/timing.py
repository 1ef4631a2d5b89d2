"""The clock of all benchmarks."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec

P = ParamSpec("P")


def time_call(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> tuple[int, float]:
    """Call a function. Return its start in nanoseconds (`time.perf_counter_ns`) and its duration in milliseconds."""
    began = time.perf_counter_ns()
    function(*args, **kwargs)
    return began, (time.perf_counter_ns() - began) / 1e6

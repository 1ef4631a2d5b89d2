"""The CPUs that this process may use, and how a camera loop shares them."""

from __future__ import annotations

import os
from pathlib import Path

from orilla.devices.cgroup import limits


def available_cores(root: Path = Path("/")) -> int:
    """CPUs that this process may use, by its affinity mask and its control group's quota, which is rounded down: a
    group that has used up its time stands still until the next period, some 100 ms."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = limits(root).cpus
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def threads_for(cores: int) -> int:
    """Threads for inference in a camera loop: one core is left for capture and sinks, at most four are used."""
    return max(1, min(4, cores - 1))


def loop_threads() -> int:
    """Threads for inference in a camera loop on this machine."""
    return threads_for(available_cores())


def keep_to_core(place: int) -> None:
    """Keeps the calling thread to one of two cores, where there are just two that this process may use.

    Linux lets two busy threads share a core for milliseconds while the other one is idle; where there are more cores,
    inference has several threads and the choice is better left to it.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == 2:
            os.sched_setaffinity(0, {cores[place]})

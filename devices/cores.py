"""Cores that this process may use, and their distribution in a camera loop."""

from __future__ import annotations

import os
from pathlib import Path

from orilla.devices.cgroup import limits


def available_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use.

    The number comes from its affinity mask, limited by the quota of its control group. The quota is rounded down,
    because a group that has used up its quota stands still until the next period, up to 100 ms.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = limits(root).cpus
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def threads_for(cores: int) -> int:
    """Return the threads for inference in a camera loop: all cores except one, at most four."""
    return max(1, min(4, cores - 1))


def loop_threads() -> int:
    """Return the threads for inference in a camera loop on this machine."""
    return threads_for(available_cores())


def keep_to_core(place: int) -> None:
    """Pin the calling thread to one of two cores, if this process may use exactly two.

    Linux lets two busy threads share a core for milliseconds while the other core is idle. With more cores, inference
    has several threads, and Linux distributes them better.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == 2:
            os.sched_setaffinity(0, {cores[place]})

"""The cores that this process may use, and how a camera loop uses them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from orilla.devices.cgroup import limits


def available_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use.

    The number is limited by the affinity mask and by the quota of the control group. The quota is rounded
    down, because a group that has used up its quota is paused until the next period, for up to 100 ms.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = limits(root).cpus
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def threads_for(cores: int) -> int:
    """Return the number of inference threads of a camera loop: all cores except one, at most four."""
    return max(1, min(4, cores - 1))


def loop_threads() -> int:
    """Return the number of inference threads of a camera loop on this machine."""
    return threads_for(available_cores())


def keep_to_core(index: int) -> None:
    """Pin the calling thread to one of two cores, if this process may use exactly two.

    Otherwise Linux lets two busy threads share one core for milliseconds while the other core is idle. With more cores,
    inference has several threads, and Linux distributes these well.

    Args:
        index: 0 for the first core, 1 for the second.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == 2:
            os.sched_setaffinity(0, {cores[index]})


def cores_of_thread() -> frozenset[int]:
    """Return the indices of the cores to which the calling thread is restricted.

    The result is empty if the operating system does not state them.
    """
    return frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset()


def keep_to_cores(cores: frozenset[int]) -> None:
    """Restrict the calling thread to cores that `cores_of_thread` returned in another thread."""
    if cores:
        with suppress(OSError):  # The process may have lost access to these cores.
            os.sched_setaffinity(0, cores)

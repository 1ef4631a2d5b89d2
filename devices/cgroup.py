"""Resource limits of containers and services: Linux control groups, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orilla.devices.reading import number, read

GROUPS = "sys/fs/cgroup"
UNLIMITED = 1 << 60
"""A memory limit of at least this size means "no limit". Version 1 reports such a number if there is no limit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the process. None means no limit."""

    cpus: float | None = None
    """Processor time that the process may use per second, in seconds."""
    memory_bytes: int | None = None
    """The smallest memory limit of all groups, in bytes."""
    memory_left: int | None = None
    """The smallest free memory of all groups, in bytes. Cached files that the kernel can drop count as free."""


def limits(root: Path = Path("/")) -> Limits:
    """Return the smallest limits of the control group of this process and of all its parent groups.

    Source: Linux, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/{memory,cpu}`.
    """
    cpus: list[float] = []
    memory: list[int] = []
    memory_left: list[int] = []
    for folder in _folders(root):
        if (quota := _quota(folder)) is not None:
            cpus.append(quota)
        for name, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            if (limit := number(folder / name)) is not None and 0 < limit < UNLIMITED:
                memory.append(limit)
                memory_left.append(max(0, limit - max(0, (number(folder / used) or 0) - _inactive(folder))))
    return Limits(min(cpus, default=None), min(memory, default=None), min(memory_left, default=None))


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups and of their parent groups.

    Within a container, the container's own group is the topmost one.
    """
    seen = set()
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if controllers and not {"cpu", "memory"} & set(names):
            continue
        # Version 1 mounts some controllers together, as in `cpu,cpuacct`. Links with the single names may be missing.
        for mounted in dict.fromkeys((controllers, *names)):
            for group in (PurePosixPath(path), *PurePosixPath(path).parents):
                folder = root / GROUPS / mounted / str(group).strip("/.")
                if folder not in seen:
                    seen.add(folder)
                    yield folder


def _quota(folder: Path) -> float | None:
    """Return the processor time that a group may use per second, in seconds. None means no limit."""
    quota, period = (*read(folder / "cpu.max").split(), "", "")[:2]
    if quota.isdigit() and period.isdigit():
        quota_us, period_us = int(quota), int(period)
    else:
        quota_us, period_us = number(folder / "cpu.cfs_quota_us") or 0, number(folder / "cpu.cfs_period_us") or 0
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _inactive(folder: Path) -> int:
    """Return the size of the cached files that the kernel drops first, in bytes.

    In version 1, the size includes child groups, as the memory usage does.
    """
    sizes = {}
    for line in read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            sizes[name] = int(value)
    return sizes.get("total_inactive_file", sizes.get("inactive_file", 0))

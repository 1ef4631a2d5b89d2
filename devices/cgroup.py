"""Resource limits of containers and services: Linux control groups, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orilla.devices.reading import number, read

GROUPS = "sys/fs/cgroup"
UNLIMITED = 1 << 60
"""Smallest number that means "no limit" in version 1, which reports the greatest page-aligned number instead."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the process. None means no limit."""

    cpus: float | None = None
    """CPU seconds per second."""
    memory_bytes: int | None = None
    """Tightest memory limit of all groups, bytes."""
    memory_left: int | None = None
    """Free memory of the group with the least free memory, bytes. Reclaimable file pages count as free."""


def limits(root: Path = Path("/")) -> Limits:
    """Return the tightest limits of this process, over its group and all parent groups.

    Source: Linux, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/{memory,cpu}`.
    """
    cpus: list[float] = []
    memory: list[int] = []
    left: list[int] = []
    for folder in _folders(root):
        if (quota := _quota(folder)) is not None:
            cpus.append(quota)
        for name, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            if (limit := number(folder / name)) is not None and 0 < limit < UNLIMITED:
                memory.append(limit)
                left.append(max(0, limit - max(0, (number(folder / used) or 0) - _inactive(folder))))
    return Limits(min(cpus, default=None), min(memory, default=None), min(left, default=None))


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups and their parents. A container sees its own group at the top."""
    seen = set()
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if controllers and not {"cpu", "memory"} & set(names):
            continue
        # Version 1 mounts some controllers together, as in `cpu,cpuacct`. It does not always link their single names.
        for mounted in dict.fromkeys((controllers, *names)):
            for group in (PurePosixPath(path), *PurePosixPath(path).parents):
                folder = root / GROUPS / mounted / str(group).strip("/.")
                if folder not in seen:
                    seen.add(folder)
                    yield folder


def _quota(folder: Path) -> float | None:
    quota, period = (*read(folder / "cpu.max").split(), "", "")[:2]
    if quota.isdigit() and period.isdigit():
        used, of = int(quota), int(period)
    else:
        used, of = number(folder / "cpu.cfs_quota_us") or 0, number(folder / "cpu.cfs_period_us") or 0
    return used / of if used > 0 and of > 0 else None


def _inactive(folder: Path) -> int:
    """Return the bytes of cached files that the kernel reclaims first.

    In version 1 the value includes child groups, as the usage does.
    """
    found = {}
    for line in read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found.get("total_inactive_file", found.get("inactive_file", 0))

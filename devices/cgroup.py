"""What a container or a service may use: the limits of Linux' control groups, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orilla.devices.reading import number, read

GROUPS = "sys/fs/cgroup"
UNLIMITED = 1 << 60
"""Version 1 says so many bytes and more where it means none: the greatest page-aligned number."""


@dataclass(frozen=True, slots=True)
class Limits:
    """None where there is no limit."""

    cpus: float | None = None
    """CPU time a second of time."""
    memory_bytes: int | None = None
    """The tightest of all groups."""
    memory_left: int | None = None
    """What can still be had in the group that has the least left; file pages that would be given up count as free."""


def limits(root: Path = Path("/")) -> Limits:
    """The tightest limits on this process, of its own group and of all above it.

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
    """The folders of this process's groups and of those above; a container sees its own at the top."""
    seen = set()
    for line in read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        names = controllers.split(",")
        if controllers and not {"cpu", "memory"} & set(names):
            continue
        # Version 1 mounts controllers together, as in `cpu,cpuacct`, and links their single names to it, not always.
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
    """Bytes of cached files that the kernel gives up first; in version 1 of the groups below too, as the usage is."""
    found = {}
    for line in read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if value.strip().isdigit():
            found[name] = int(value)
    return found.get("total_inactive_file", found.get("inactive_file", 0))

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
    memory_used: int = 0
    """Bytes that the group with the tightest limit uses, without file pages that would be given up."""


def limits(root: Path = Path("/")) -> Limits:
    """The tightest limits on this process, of its own group and of all above it.

    Source: Linux, `Documentation/admin-guide/cgroup-v2.rst` and `cgroup-v1/{memory,cpu}`.
    """
    cpus: list[float] = []
    memory: list[tuple[int, int]] = []
    for folder in _folders(root):
        if (quota := _quota(folder)) is not None:
            cpus.append(quota)
        for name, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            if (limit := number(folder / name)) is not None and 0 < limit < UNLIMITED:
                memory.append((limit, max(0, (number(folder / used) or 0) - _inactive(folder))))
    limit, used_bytes = min(memory, default=(None, 0))
    return Limits(min(cpus, default=None), limit, used_bytes)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups and of those above; a container sees its own at the top."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    seen = set()
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        for controller in controllers.split(","):
            if controller not in ("", "cpu", "memory"):
                continue
            for group in (PurePosixPath(path), *PurePosixPath(path).parents):
                folder = root / GROUPS / controller / str(group).strip("/.")
                if folder not in seen:
                    seen.add(folder)
                    yield folder


def _quota(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        quota_us, period_us = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
        return quota_us / period_us if quota_us and period_us and quota_us > 0 else None


def _inactive(folder: Path) -> int:
    """Bytes of cached files that the kernel gives up first."""
    for line in read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdigit():
            return int(value)
    return 0

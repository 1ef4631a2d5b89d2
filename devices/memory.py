"""The memory of the machine, and the memory that is available to this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.cgroup import limits
from orilla.devices.reading import fields, read


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory sizes in bytes."""

    total: int
    """Memory of the machine."""
    free: int | None
    """Memory that is available without swapping, within the limit of the control group. None if unknown."""
    limit: int | None
    """Limit of the control group. None if there is no limit, or if the machine has less memory than the limit."""


def memory(root: Path = Path("/")) -> Memory:
    """Read `/proc/meminfo` and the files of the control group."""
    text = read(root / "proc/meminfo")
    total, free = (_bytes(text, key) for key in ("MemTotal", "MemAvailable"))
    group = limits(root)
    limit = None if group.memory_bytes is None or (total and group.memory_bytes >= total) else group.memory_bytes
    if limit is not None:
        left = group.memory_left or 0
        free = left if free is None else min(free, left)
    return Memory(total or 0, free, limit)


def available_bytes(root: Path = Path("/")) -> int | None:
    """Return the available memory in bytes, or None if it is unknown."""
    return memory(root).free


def _bytes(meminfo: str, key: str) -> int | None:
    words = next(iter(fields(meminfo, key)), "").split()
    return int(words[0]) << 10 if words and words[0].isdigit() else None

"""What this machine is, read from the operating system."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine as a result names it."""

    cpu: str
    arch: str
    cores: int
    """CPUs that this process may use."""
    memory_mib: int
    python: str

    def __str__(self) -> str:
        return f"{self.cpu}, {self.arch}, {self.cores} cores, {self.memory_mib / 1024:.0f} GiB"


def detect(root: Path = Path("/")) -> Machine:
    """Reads `/proc` below `root`; what cannot be read is named `unknown`."""
    info = _read(root / "proc/cpuinfo")
    return Machine(
        cpu=_field(info, "Model") or _field(info, "model name") or platform.processor() or "unknown CPU",
        arch=platform.machine(),
        cores=available_cores(),
        memory_mib=int((_field(_read(root / "proc/meminfo"), "MemTotal") or "0 kB").split()[0]) // 1024,
        python=platform.python_version(),
    )


def available_cores() -> int:
    """CPUs that this process may use, by its affinity mask."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def loop_threads() -> int:
    """Threads for inference in a camera loop: one core is left for capture and sinks, at most four are used."""
    return max(1, min(4, available_cores() - 1))


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _field(text: str, key: str) -> str:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""

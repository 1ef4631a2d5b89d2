"""What this machine is, read from the operating system."""

from __future__ import annotations

import os
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
    import platform  # not needed by a loop, which asks for threads only

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


def keep_to_core(place: int) -> None:
    """Keeps the calling thread to one of two cores, where there are just two that this process may use.

    Linux lets two busy threads share a core for milliseconds while the other one is idle; where there are more cores,
    inference has several threads and the choice is better left to it.
    """
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) == 2:
            os.sched_setaffinity(0, {cores[place]})


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

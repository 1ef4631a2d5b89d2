"""Read the clock of the cores and their use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import fields, number, read


def mhz(root: Path = Path("/")) -> float | None:
    """Return the clock of the fastest core, MHz, from the kernel's frequency driver or else from `/proc/cpuinfo`."""
    found = [number(path) for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    if khz := [one for one in found if one]:
        return max(khz) / 1000
    summary = fields(read(root / "proc/cpuinfo"), "cpu MHz")
    return max(map(float, summary), default=None)


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time since boot, seconds, summed over all cores. Fields are columns of `/proc/stat`."""

    busy: float
    stolen: float
    """Time that the hypervisor gave to other machines."""
    cores: int


def usage(root: Path = Path("/")) -> Usage | None:
    """Read `/proc/stat`. Return None if it is absent.

    Busy time is user, nice, system, irq and softirq time. Source: proc(5).
    """
    lines = read(root / "proc/stat").splitlines()
    if not lines or not lines[0].startswith("cpu "):
        return None
    ticks = [int(word) for word in lines[0].split()[1:9]] + [0] * 8
    user, nice, system, _idle, _iowait, irq, softirq, stolen = ticks[:8]
    second = os.sysconf("SC_CLK_TCK")
    cores = sum(line.startswith("cpu") for line in lines) - 1
    return Usage((user + nice + system + irq + softirq) / second, stolen / second, max(1, cores))

"""Read the clock rate of the cores, and the processor time used since boot."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import fields, number, read


def mhz(root: Path = Path("/")) -> float | None:
    """Return the clock rate of the fastest core in MHz, or None if it is unknown.

    The clock rate comes from the kernel's frequency driver if there is one, else from `/proc/cpuinfo`.
    """
    rates_khz = [number(path) for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")]
    if known_khz := [rate for rate in rates_khz if rate]:
        return max(known_khz) / 1000
    return max(map(float, fields(read(root / "proc/cpuinfo"), "cpu MHz")), default=None)


@dataclass(frozen=True, slots=True)
class Usage:
    """Processor time since boot in seconds, summed over all cores."""

    busy: float
    """Time in user programs, the kernel and interrupts."""
    stolen: float
    """Time that the hypervisor gave to other virtual machines."""
    cores: int


def usage(root: Path = Path("/")) -> Usage | None:
    """Read `/proc/stat`. Return None if it is absent.

    Busy time is the sum of user, nice, system, irq and softirq time. Source: proc(5).
    """
    lines = read(root / "proc/stat").splitlines()
    if not lines or not lines[0].startswith("cpu "):
        return None
    ticks = [int(word) for word in lines[0].split()[1:9]] + [0] * 8
    user, nice, system, _idle, _iowait, irq, softirq, stolen = ticks[:8]
    second = os.sysconf("SC_CLK_TCK")
    cores = sum(line.startswith("cpu") for line in lines) - 1
    return Usage((user + nice + system + irq + softirq) / second, stolen / second, max(1, cores))

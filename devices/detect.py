"""Detect this machine from the files of the operating system."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from orilla.devices.accelerators import Accelerator, accelerators
from orilla.devices.cores import available_cores
from orilla.devices.memory import memory
from orilla.devices.packages import ENGINES, installed
from orilla.devices.reading import fields, number, read

ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd41": "Cortex-A78",
    "0xd42": "Cortex-A78AE",
    "0xd44": "Cortex-X1",
    "0xd47": "Cortex-A710",
    "0xd4b": "Cortex-A78C",
    "0xd80": "Cortex-A520",
    "0xd81": "Cortex-A720",
}
"""Part numbers of Arm's own cores, implementer 0x41. Source: Technical Reference Manual of each core, MIDR_EL1."""

FEATURES = (
    *("neon", "asimd", "atomics", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),
    *("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"),
)
"""Instruction sets for which inference engines have kernels, as the kernel names them. `asimdhp` is half precision,
`asimddp` the dot product of bytes; `atomics` came with Armv8.1."""

THROTTLE = {
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "at its soft temperature limit now",
    16: "under-voltage since boot",
    17: "clock capped since boot",
    18: "throttled since boot",
    19: "at its soft temperature limit since boot",
}
"""Bits of the Raspberry Pi firmware's throttling report. Source: Raspberry Pi documentation, `get_throttled`."""

ZONES = re.compile(r"cpu|soc|pkg|tegra", re.IGNORECASE)
"""Names of the thermal zones of the processor."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Description of a machine."""

    cpu: str
    arch: str
    """Architecture, as the kernel names it. A 32-bit Python on a 64-bit kernel still has 32 `bits`."""
    cores: int
    """Cores that this process may use, after affinity and control group."""
    memory_mib: int
    python: str
    board: str | None = None
    bits: int = 64
    cores_online: int = 0
    features: tuple[str, ...] = ()
    governor: str | None = None
    max_mhz: int | None = None
    temperature_c: float | None = None
    throttled: tuple[str, ...] = ()
    memory_free_mib: int | None = None
    """Memory that is available without swapping, within the limit of the control group, MiB. None if unknown."""
    memory_limit_mib: int | None = None
    """Memory limit of the control group, MiB."""
    accelerators: tuple[Accelerator, ...] = ()
    engines: dict[str, str] = field(default_factory=dict)
    """Versions of installed engines, by distribution."""

    def __str__(self) -> str:
        name = f"{self.board} ({self.cpu})" if self.board else self.cpu
        return f"{name}, {self.arch}, {self.cores} cores, {self.memory_mib / 1024:.0f} GiB"


def detect(root: Path = Path("/"), *, arch: str | None = None, bits: int | None = None) -> Machine:
    """Read `/proc` and `/sys` below `root`. Unknown values are `unknown`, None, or absent.

    Args:
        root: Root of the file system.
        arch: Architecture of the kernel. None detects it.
        bits: Pointer size of user programs. None uses that of this Python.
    """
    import platform  # a loop needs only the number of threads

    info = read(root / "proc/cpuinfo")
    found = memory(root)
    return Machine(
        cpu=_cpu(info) or platform.processor() or "unknown CPU",
        arch=arch or platform.machine(),
        cores=available_cores(root),
        memory_mib=found.total >> 20,
        python=platform.python_version(),
        board=_board(root, info),
        bits=bits or struct.calcsize("P") * 8,
        cores_online=len(fields(info, "processor")),
        features=_features(info),
        governor=read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        max_mhz=_mhz(root),
        temperature_c=temperature(root),
        throttled=throttled(root),
        memory_free_mib=None if found.free is None else found.free >> 20,
        memory_limit_mib=None if found.limit is None else found.limit >> 20,
        accelerators=accelerators(root),
        engines=installed(ENGINES),
    )


def identity(root: Path = Path("/")) -> str:
    """Return board and processor, which stay the same for one machine."""
    import platform

    info = read(root / "proc/cpuinfo")
    named = _cpu(info) or platform.processor() or "unknown CPU"
    board = _board(root, info)
    return f"{board} ({named})" if board else f"{named}, {platform.machine()}"


def temperature(root: Path = Path("/")) -> float | None:
    """Return the temperature of the processor, degrees Celsius. Without a named zone, return the hottest zone."""
    zones = [
        (bool(ZONES.search(read(zone / "type"))), milli / 1000)
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
        if (milli := number(zone / "temp")) is not None
    ]
    return max(zones)[1] if zones else None


def throttled(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the reasons why the machine is or was throttled."""
    found = []
    for firmware in sorted((root / "sys/devices/platform").glob("soc*/*firmware/get_throttled")):
        try:
            bits = int(read(firmware), 16)
        except ValueError:
            continue
        found += [meaning for bit, meaning in THROTTLE.items() if bits >> bit & 1]
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read(monitor / "name").strip() == "rpi_volt" and number(monitor / "in0_lcrit_alarm"):
            found.append(THROTTLE[16])
    for core in (root / "sys/devices/system/cpu").glob("cpu0/thermal_throttle/package_throttle_count"):
        if number(core):
            found.append("throttled by heat since boot")
    return tuple(dict.fromkeys(found))


def _cpu(info: str) -> str | None:
    parts = dict.fromkeys(fields(info, "CPU part"))
    names = [ARM_CORES[part] for part in parts if part in ARM_CORES]
    if names:
        return " + ".join(names)
    return next(iter(fields(info, "model name")), None)


def _board(root: Path, info: str) -> str | None:
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if name := read(root / path).strip():
            return name
    return next(iter(fields(info, "Model")), None)


def features(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the instruction sets of `FEATURES` that the processor has."""
    return _features(read(root / "proc/cpuinfo"))


def _features(info: str) -> tuple[str, ...]:
    words = {word for key in ("flags", "Features") for line in fields(info, key)[:1] for word in line.split()}
    return tuple(name for name in FEATURES if name in words)


def _mhz(root: Path) -> int | None:
    found = [number(path) for path in (root / "sys/devices/system/cpu").glob("cpu*/cpufreq/cpuinfo_max_freq")]
    return max((khz // 1000 for khz in found if khz), default=None)

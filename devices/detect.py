"""Describe this machine from files of the operating system in `/proc` and `/sys`."""

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
"""Names of the cores that Arm designed, by the part number in `/proc/cpuinfo`. Source: Technical Reference Manual of
each core, register MIDR_EL1."""

FEATURES = (
    *("neon", "asimd", "atomics", "asimdhp", "asimddp", "i8mm", "bf16", "sve"),
    *("sse4_1", "sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8"),
)
"""Instruction sets that inference engines use, as Linux names them. `asimdhp` is arithmetic in half precision, and
`asimddp` is the dot product of bytes. `atomics` indicates Armv8.1 or later."""

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
"""Meaning of the bits in the throttling report of the Raspberry Pi's firmware. Source: Raspberry Pi documentation,
`get_throttled`."""

ZONES = re.compile(r"cpu|soc|pkg|tegra", re.IGNORECASE)
"""Pattern for the names of thermal zones that measure the processor."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Description of a machine."""

    cpu: str
    arch: str
    """Architecture of the kernel, as Linux names it. It may be a 64-bit architecture even if this Python is a 32-bit
    program."""
    cores: int
    """Number of cores that this process may use, within its affinity mask and control group."""
    memory_mib: int
    """Memory of the machine in MiB."""
    python: str
    board: str | None = None
    """Model name of the board. None for a computer without a device tree."""
    bits: int = 64
    """Pointer size of this Python in bits."""
    cores_online: int = 0
    """Number of cores in the machine."""
    features: tuple[str, ...] = ()
    """Instruction sets of `FEATURES` that the processor has."""
    governor: str | None = None
    max_mhz: int | None = None
    temperature_c: float | None = None
    throttled: tuple[str, ...] = ()
    """Reasons why the machine is or was slowed down."""
    memory_free_mib: int | None = None
    """Memory in MiB that is available without swapping, within the limit of the control group. None if unknown."""
    memory_limit_mib: int | None = None
    """Memory limit of the control group in MiB. None if there is no limit."""
    accelerators: tuple[Accelerator, ...] = ()
    engines: dict[str, str] = field(default_factory=dict)
    """Versions of the installed distributions that contain engines. The keys are the names."""

    def __str__(self) -> str:
        name = f"{self.board} ({self.cpu})" if self.board else self.cpu
        return f"{name}, {self.arch}, {self.cores} cores, {self.memory_mib / 1024:.0f} GiB"


def detect(root: Path = Path("/"), *, arch: str | None = None, bits: int | None = None) -> Machine:
    """Describe the machine whose `/proc` and `/sys` are in the folder `root`. An unknown value is None or empty.

    Args:
        root: Root of the file system.
        arch: Architecture of the kernel. If None, it is detected.
        bits: Pointer size of user programs in bits. If None, the pointer size of this Python is used.
    """
    import platform  # Import these modules here, because a loop does not call `detect` and should start fast.

    info = read(root / "proc/cpuinfo")
    available = memory(root)
    return Machine(
        cpu=_cpu(info) or platform.processor() or "unknown CPU",
        arch=arch or platform.machine(),
        cores=available_cores(root),
        memory_mib=available.total >> 20,
        python=platform.python_version(),
        board=_board(root, info),
        bits=bits or struct.calcsize("P") * 8,
        cores_online=len(fields(info, "processor")),
        features=_features(info),
        governor=read(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None,
        max_mhz=_mhz(root),
        temperature_c=temperature(root),
        throttled=throttled(root),
        memory_free_mib=None if available.free is None else available.free >> 20,
        memory_limit_mib=None if available.limit is None else available.limit >> 20,
        accelerators=accelerators(root),
        engines=installed(ENGINES),
    )


def identity(root: Path = Path("/")) -> str:
    """Return the names of the board and the processor, which identify the type of machine in stored results."""
    import platform

    info = read(root / "proc/cpuinfo")
    name = _cpu(info) or platform.processor() or "unknown CPU"
    board = _board(root, info)
    return f"{board} ({name})" if board else f"{name}, {platform.machine()}"


def temperature(root: Path = Path("/")) -> float | None:
    """Return the temperature of the processor in degrees Celsius, or None if it is unknown.

    If several thermal zones measure the processor, return the temperature of the hottest. If none does, return the
    temperature of the hottest of all zones.
    """
    zones = [
        (bool(ZONES.search(read(zone / "type"))), millidegrees / 1000)
        for zone in (root / "sys/class/thermal").glob("thermal_zone*")
        if (millidegrees := number(zone / "temp")) is not None
    ]
    return max(zones)[1] if zones else None


def throttled(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the reasons why the machine is or was throttled."""
    reasons = []
    for firmware in sorted((root / "sys/devices/platform").glob("soc*/*firmware/get_throttled")):
        try:
            bits = int(read(firmware), 16)
        except ValueError:
            continue
        reasons += [meaning for bit, meaning in THROTTLE.items() if bits >> bit & 1]
    for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if read(monitor / "name").strip() == "rpi_volt" and number(monitor / "in0_lcrit_alarm"):
            reasons.append(THROTTLE[16])
    for core in (root / "sys/devices/system/cpu").glob("cpu0/thermal_throttle/package_throttle_count"):
        if number(core):
            reasons.append("throttled by heat since boot")
    return tuple(dict.fromkeys(reasons))


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
    rates_khz = [number(path) for path in (root / "sys/devices/system/cpu").glob("cpu*/cpufreq/cpuinfo_max_freq")]
    return max((khz // 1000 for khz in rates_khz if khz), default=None)

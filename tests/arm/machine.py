"""Files in `/proc` and `/sys` that make an emulated Arm processor look like a board.

LiteRT and ONNX Runtime read these files to choose their kernels. With the files of the host, they would crash.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from helpers import boards


@dataclass(frozen=True)
class Machine:
    """An emulated board."""

    name: str
    qemu_cpu: str
    part: str
    features: str
    model: str
    mhz: int
    memory_kb: int
    engines: str
    """Names of the engines that work on the board. `compiled` is missing on Armv8.0, where its library crashes."""


MACHINES = {
    "a53": Machine(
        "a53", "cortex-a53", "0xd03", boards.A53, "Raspberry Pi 3 Model B Plus Rev 1.3", 1400, 945512, "litert onnx"
    ),
    "a72": Machine(
        "a72", "cortex-a72", "0xd08", boards.A53, "Raspberry Pi 4 Model B Rev 1.5", 1800, 3930664, "litert onnx"
    ),
    "a76": Machine(
        "a76",
        "cortex-a76",
        "0xd0b",
        boards.A76,
        "Raspberry Pi 5 Model B Rev 1.0",
        2400,
        8245712,
        "litert compiled onnx",
    ),
}
"""The boards, by the name of their processor. No test uses qemu's default processor `max`, because LiteRT computes
wrong int8 results on it."""

CORES = 4


def dress(root: Path, machine: Machine) -> None:
    """Write the board's files into a root folder. They replace the files of another board."""
    for folder in ("proc", "sys"):
        shutil.rmtree(root / folder, ignore_errors=True)
    last = CORES - 1
    cpu = "sys/devices/system/cpu/"
    files = {
        "proc/cpuinfo": boards.arm(machine.part, machine.features, CORES, f"Model\t\t: {machine.model}\n"),
        "proc/meminfo": boards.memory(machine.memory_kb, machine.memory_kb * 3 // 4),
        "proc/device-tree/model": machine.model + "\0",
        "sys/firmware/devicetree/base/model": machine.model + "\0",
        boards.THROTTLED: "0\n",
        cpu + "kernel_max": f"{last}\n",
        **{cpu + name: f"0-{last}\n" for name in ("possible", "present", "online")},
    }
    for core in range(CORES):
        at = f"{cpu}cpu{core}/"
        files[at + "topology/physical_package_id"] = "0\n"
        files[at + "topology/core_id"] = f"{core}\n"
        for name in ("core_siblings_list", "package_cpus_list", "cluster_cpus_list"):
            files[at + f"topology/{name}"] = f"0-{last}\n"
        for name in ("thread_siblings_list", "core_cpus_list"):
            files[at + f"topology/{name}"] = f"{core}\n"
        files[at + "cpufreq/cpuinfo_max_freq"] = f"{machine.mhz * 1000}\n"
        files[at + "cpufreq/cpuinfo_min_freq"] = "600000\n"
        files[at + "cpufreq/scaling_governor"] = "performance\n"
    boards.write(root, files)

"""The content of files in `/proc` and `/sys` on real boards. Tests write these files into a temporary folder.

Sources: hrw/arm-socs-table issues 6, 31, 91 and 96 (cpuinfo of Raspberry Pi 3, 4 and 5 and of the Jetson Nano),
fastfetch-cli/fastfetch issue 1529 (Raspberry Pi 4), google-coral/edgetpu issue 688 (Coral Dev Board), KavrakiLab/vamp
issue 20 (Jetson Orin), Raspberry Pi documentation (get_throttled).
"""

from __future__ import annotations

from pathlib import Path


def write(root: Path, files: dict[str, str]) -> Path:
    """Write the files below `root`, and return `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def arm(part: str, features: str, cores: int = 4, tail: str = "", architecture: int = 8) -> str:
    """Return the content of `/proc/cpuinfo` on an Arm machine."""
    core = (
        "processor\t: {}\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\nCPU architecture: {}\n"
        "CPU variant\t: 0x0\nCPU part\t: {}\nCPU revision\t: 3\n\n"
    )
    return "".join(core.format(index, features, architecture, part) for index in range(cores)) + tail


def memory(total_kb: int, available_kb: int) -> str:
    """Return the content of `/proc/meminfo`."""
    return f"MemTotal:       {total_kb} kB\nMemFree:         1000 kB\nMemAvailable:   {available_kb} kB\n"


A53 = "fp asimd evtstrm crc32 cpuid"
A76 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
V7 = "half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae evtstrm crc32"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
MHZ = "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"
ZONE = "sys/class/thermal/thermal_zone0/"
THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"

PI3 = {
    "proc/cpuinfo": arm("0xd03", A53, tail="Revision\t: a020d3\nModel\t\t: Raspberry Pi 3 Model B Plus Rev 1.3\n"),
    "proc/meminfo": memory(945512, 612340),
    "proc/device-tree/model": "Raspberry Pi 3 Model B Plus Rev 1.3\0",
    GOVERNOR: "ondemand\n",
    MHZ: "1400000\n",
    ZONE + "type": "cpu-thermal\n",
    ZONE + "temp": "47236\n",
    THROTTLED: "0\n",
}
PI4_32BIT = {
    "proc/cpuinfo": arm(
        "0xd08", V7, tail="Revision\t: c03112\nModel\t\t: Raspberry Pi 4 Model B Rev 1.2\n", architecture=7
    ),
    "proc/meminfo": memory(3930664, 3400000),
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.2\0",
}
PI4 = {
    "proc/cpuinfo": arm("0xd08", A53, tail="Revision\t: d03115\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"),
    "proc/meminfo": memory(7998704, 7000000),
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.5\0",
    GOVERNOR: "ondemand\n",
    MHZ: "1800000\n",
    ZONE + "type": "cpu-thermal\n",
    ZONE + "temp": "81305\n",
    THROTTLED: "50005\n",
    "sys/bus/usb/devices/1-1/idVendor": "1d6b\n",
    "sys/bus/usb/devices/2-1/idVendor": "1a6e\n",
    "sys/bus/usb/devices/2-1/idProduct": "089a\n",
    "sys/bus/usb/devices/2-1/speed": "480\n",
}
PI5 = {
    "proc/cpuinfo": arm("0xd0b", A76, tail="Revision\t: d04170\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n"),
    "proc/meminfo": memory(8245712, 7500000),
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    GOVERNOR: "performance\n",
    MHZ: "2400000\n",
    ZONE + "type": "cpu-thermal\n",
    ZONE + "temp": "52900\n",
    THROTTLED: "0\n",
    "sys/bus/usb/devices/4-1/idVendor": "18d1\n",
    "sys/bus/usb/devices/4-1/idProduct": "9302\n",
    "sys/bus/usb/devices/4-1/speed": "5000\n",
}
ZERO2W = {
    "proc/cpuinfo": arm("0xd03", A53, tail="Revision\t: 902120\nModel\t\t: Raspberry Pi Zero 2 W Rev 1.0\n"),
    "proc/meminfo": memory(428476, 210000),
    "proc/device-tree/model": "Raspberry Pi Zero 2 W Rev 1.0\0",
    "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1\n",
}
CORAL_DEV = {
    "proc/cpuinfo": arm("0xd03", A53),
    "proc/meminfo": memory(1016000, 700000),
    "sys/firmware/devicetree/base/model": "Freescale i.MX8MQ Phanbell\0",
    "sys/bus/pci/devices/0001:01:00.0/vendor": "0x1ac1\n",
    "sys/bus/pci/devices/0001:01:00.0/device": "0x089a\n",
    "dev/apex_0": "",
}
JETSON_ORIN = {
    "proc/cpuinfo": arm("0xd42", A76 + " uscat ilrcpc flagm", cores=6),
    "proc/meminfo": memory(7802436, 6000000),
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n",
    "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone1/temp": "61000\n",
}
ROCK5 = {
    "proc/cpuinfo": arm("0xd05", A76) + arm("0xd0b", A76),
    "proc/meminfo": memory(16123456, 15000000),
    "proc/device-tree/model": "Radxa ROCK 5B\0",
}
INTEL = {
    "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) Ultra 7 155H\n"
    "flags\t\t: fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2 avx_vnni\n\n"
    "processor\t: 1\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) Ultra 7 155H\n\n",
    "proc/meminfo": memory(32000000, 28000000),
    GOVERNOR: "powersave\n",
    "sys/class/accel/accel0/device/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:00:02.0/vendor": "0x8086\n",
    "sys/bus/pci/devices/0000:00:02.0/device": "0x7d55\n",
    "sys/bus/pci/devices/0000:00:02.0/class": "0x030000\n",
    "dev/dri/renderD128": "",
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "27800\n",
    "sys/class/thermal/thermal_zone5/type": "x86_pkg_temp\n",
    "sys/class/thermal/thermal_zone5/temp": "44000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "12\n",
}
NVIDIA_PC = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD Ryzen 9 7950X 16-Core Processor\n"
    "flags\t\t: sse4_2 avx2 avx512f\n",
    "proc/meminfo": memory(65000000, 60000000),
    "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA GeForce RTX 4070\nIRQ: 110\n",
}


def group_v2(cpus: str = "max 100000", limit: str = "max", used: int = 0, inactive: int = 0) -> dict[str, str]:
    """Return the files of a container's control group, version 2. The host's group above it has no limits."""
    at = "sys/fs/cgroup/system.slice/robot.service/"
    return {
        "proc/self/cgroup": "0::/system.slice/robot.service\n",
        at + "cpu.max": cpus + "\n",
        at + "memory.max": limit + "\n",
        at + "memory.current": f"{used}\n",
        at + "memory.stat": f"anon 1000\ninactive_file {inactive}\n",
        "sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
        "sys/fs/cgroup/system.slice/memory.max": "max\n",
    }


def group_v1(quota_us: int = -1, limit: int = 9223372036854771712, used: int = 0) -> dict[str, str]:
    """Return the files of a Docker container's control groups, version 1, as the container sees them."""
    return {
        "proc/self/cgroup": "11:memory:/docker/4bcc\n5:cpu,cpuacct:/docker/4bcc\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": f"{quota_us}\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{limit}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{used}\n",
        "sys/fs/cgroup/memory/memory.stat": "cache 5\ntotal_inactive_file 0\n",
    }


def dpkg(**versions: str) -> dict[str, str]:
    """Return the file with the installed Debian packages. An underscore in a name stands for a dash."""
    paragraphs = [
        f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nVersion: {version}\n"
        for name, version in versions.items()
    ]
    return {"var/lib/dpkg/status": "\n".join(paragraphs)}


def hailo(product: str, *nodes: str, module: str = "hailo_pci") -> dict[str, str]:
    """Return the files of a Raspberry Pi 5 with a Hailo chip, of which `nodes` are the device files."""
    return {
        **{name: text for name, text in PI5.items() if "usb" not in name},
        "sys/bus/pci/devices/0001:01:00.0/vendor": "0x1e60\n",
        "sys/bus/pci/devices/0001:01:00.0/device": f"{product}\n",
        f"sys/module/{module}/refcnt": "0\n",
        **{f"dev/{node}": "" for node in nodes},
    }


AI_CAMERA = {
    **{name: text for name, text in PI5.items() if "usb" not in name},
    "sys/bus/i2c/devices/10-001a/name": "imx500\n",
}
ROCK5_VENDOR = {  # Source: airockchip/rknn-toolkit2 issue 534.
    **ROCK5,
    "proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
    "sys/class/drm/renderD128/device/uevent": "DRIVER=panthor\nOF_NAME=gpu\n",
    "sys/class/drm/renderD129/device/uevent": "DRIVER=RKNPU\nOF_NAME=npu\n",
}
ROCK5_MAINLINE = {
    **ROCK5,
    "proc/device-tree/compatible": "radxa,rock-5b\0rockchip,rk3588\0",
    "sys/class/accel/accel0/device/uevent": "DRIVER=rocket\nOF_NAME=npu\n",
}
IMX93 = {
    "proc/cpuinfo": arm("0xd05", A76, cores=2),
    "proc/meminfo": memory(2000000, 1500000),
    "proc/device-tree/model": "NXP i.MX93 11X11 EVK board\0",
    "dev/ethosu0": "",
}

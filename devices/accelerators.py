"""Find the accelerators of a machine in `/sys` and `/proc`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import read

CORAL_USB = {("1a6e", "089a"): "not yet initialised by its library", ("18d1", "9302"): "initialised"}
"""State of the Coral USB Accelerator. The keys are its vendor and product ID. The IDs change when libedgetpu has loaded
the firmware. Source: coral.ai/docs/accelerator/get-started and google-coral/edgetpu issue 536."""

CORAL_PCI = ("0x1ac1", "0x089a")
"""Vendor and product ID of the Coral accelerators on PCI Express."""

HAILO_PCI = "0x1e60"
INTEL = "0x8086"
"""Vendor IDs of Hailo and Intel."""

HAILO = {"0x2864": "Hailo-8", "0x45c4": "Hailo-10H"}
"""Hailo chips by product ID. The Hailo-8L has the ID of the Hailo-8. Source: hailo-ai/hailort-drivers, and
hailo-ai/hailo-rpi5-examples issue 192."""

HAILO_NODES = ("hailo[0-9]*", "h1x*")
"""Device files of Hailo's drivers. A driver for the Hailo-10H creates `/dev/h1x-0`. Source:
hailo-ai/hailo-rpi5-examples issue 193."""

ROCKCHIP = re.compile("rockchip,(rk35(?:62|66|68|76|88)s?)")
"""Rockchip chips with an NPU, as `/proc/device-tree/compatible` names them."""

NPU_DRIVERS = ("RKNPU", "rocket")
"""Drivers of Rockchip's NPU: one in the vendor's kernels, and one in Linux since 6.18."""

USB3_MBIT = 5000
"""Speed of a USB 3 port in megabits per second."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator that is plugged in or built in."""

    kind: str
    """Kind of the accelerator: `edgetpu-usb`, `edgetpu-pci`, `nvidia-gpu`, `intel-gpu`, `intel-npu`, `hailo`, `imx500`,
    `rockchip-npu` or `ethos-u`."""
    name: str
    link_mbit: int | None = None
    """Speed of its USB connection in megabits per second. None if it is unknown, or if the device is not on USB."""
    usable: bool = True
    """True if its driver has created a device file for it, or if it needs none."""


def accelerators(root: Path = Path("/")) -> tuple[Accelerator, ...]:
    """Return the accelerators of the machine whose `/sys` and `/proc` are in the folder `root`."""
    found = (_usb, _pci, _nvidia, _intel_npu, _imx500, _rockchip, _ethos_u)
    return tuple(accelerator for find in found for accelerator in find(root))


def _usb(root: Path) -> Iterator[Accelerator]:
    for device in sorted((root / "sys/bus/usb/devices").glob("*")):
        identity = (read(device / "idVendor").strip(), read(device / "idProduct").strip())
        if identity in CORAL_USB:
            speed = read(device / "speed").strip()
            name = f"Coral USB Accelerator ({CORAL_USB[identity]})"
            yield Accelerator("edgetpu-usb", name, int(speed) if speed.isdigit() else None)


def _pci(root: Path) -> Iterator[Accelerator]:
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor, product = read(device / "vendor").strip(), read(device / "device").strip()
        if (vendor, product) == CORAL_PCI:
            has_device = any((root / "dev").glob("apex_*"))
            yield Accelerator("edgetpu-pci", "Coral Edge TPU on PCI Express", usable=has_device)
        elif vendor == HAILO_PCI:
            has_device = any(any((root / "dev").glob(pattern)) for pattern in HAILO_NODES)
            yield Accelerator("hailo", HAILO.get(product, "Hailo accelerator"), usable=has_device)
        elif vendor == INTEL and read(device / "class").startswith("0x03"):
            yield Accelerator("intel-gpu", "Intel GPU", usable=any((root / "dev/dri").glob("renderD*")))


def _nvidia(root: Path) -> Iterator[Accelerator]:
    for information in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
        fields = dict(line.split(":", 1) for line in read(information).splitlines() if ":" in line)
        yield Accelerator("nvidia-gpu", fields.get("Model", "NVIDIA GPU").strip())
    release = read(root / "etc/nv_tegra_release")
    if release:
        words = release.replace(",", " ").split()
        major, minor = (words[index + 1] if len(words) > index + 1 else "?" for index in (0, 3))
        yield Accelerator("nvidia-gpu", f"Jetson's GPU, Jetson Linux {major.lstrip('R')}.{minor}")


def _intel_npu(root: Path) -> Iterator[Accelerator]:
    for device in sorted((root / "sys/class/accel").glob("accel*")):
        if read(device / "device/vendor").strip() == INTEL:
            yield Accelerator("intel-npu", "Intel NPU")


def _imx500(root: Path) -> Iterator[Accelerator]:
    """Find a camera whose sensor runs networks itself, such as the Raspberry Pi AI Camera."""
    if any(read(name).strip() == "imx500" for name in sorted((root / "sys/bus/i2c/devices").glob("*/name"))):
        yield Accelerator("imx500", "Sony IMX500 (AI Camera)")


def _rockchip(root: Path) -> Iterator[Accelerator]:
    chip = ROCKCHIP.search(read(root / "proc/device-tree/compatible"))
    if chip is not None:
        usable = any(driver in NPU_DRIVERS for driver in drivers(root)) or (root / "dev/rknpu").exists()
        yield Accelerator("rockchip-npu", f"NPU of the {chip[1].upper()}", usable=usable)


def _ethos_u(root: Path) -> Iterator[Accelerator]:
    if any((root / "dev").glob("ethosu*")) or "ethosu" in drivers(root):
        yield Accelerator("ethos-u", "Arm Ethos-U")


def drivers(root: Path) -> tuple[str, ...]:
    """Return the names of the drivers of all graphics and NPU devices."""
    files = [
        *(root / "sys/class/drm").glob("renderD*/device/uevent"),
        *(root / "sys/class/accel").glob("*/device/uevent"),
    ]
    return tuple(
        line.removeprefix("DRIVER=") for file in sorted(files) for line in read(file).splitlines() if "DRIVER=" in line
    )

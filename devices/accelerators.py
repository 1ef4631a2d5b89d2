"""Find the accelerators of a machine in `/sys` and `/proc`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import read

CORAL_USB = {("1a6e", "089a"): "not yet initialised by its library", ("18d1", "9302"): "initialised"}
"""State of the Coral USB Accelerator by its vendor and product ID. The IDs change when libedgetpu has loaded the
firmware. Source: coral.ai/docs/accelerator/get-started and google-coral/edgetpu issue 536."""

CORAL_PCI = ("0x1ac1", "0x089a")
"""Vendor and product ID of the Coral accelerators on PCI Express."""

HAILO_PCI = "0x1e60"
INTEL = "0x8086"
"""Vendor IDs of Hailo and Intel."""

USB3_MBIT = 5000
"""Speed of a USB 3 port in megabits per second."""


@dataclass(frozen=True, slots=True)
class Accelerator:
    """An accelerator that is plugged in or built in."""

    kind: str
    """Kind of the accelerator: `edgetpu-usb`, `edgetpu-pci`, `nvidia-gpu`, `intel-gpu`, `intel-npu` or `hailo`."""
    name: str
    link_mbit: int | None = None
    """Speed of its USB connection in megabits per second. None if it is unknown, or if the device is not on USB."""
    usable: bool = True
    """True if its driver has created a device file for it, or if it needs none."""


def accelerators(root: Path = Path("/")) -> tuple[Accelerator, ...]:
    """Return the accelerators of the machine whose `/sys` and `/proc` are below `root`."""
    return (*_usb(root), *_pci(root), *_nvidia(root), *_intel_npu(root))


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
            yield Accelerator("hailo", "Hailo accelerator", usable=any((root / "dev").glob("hailo*")))
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

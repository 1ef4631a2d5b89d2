"""Checks of accelerators: port, driver and library."""

from __future__ import annotations

import re
from pathlib import Path

from orilla.devices.accelerators import USB3_MBIT, Accelerator
from orilla.devices.detect import Machine
from orilla.devices.finding import Finding, Level
from orilla.devices.reading import read
from orilla.devices.shared_libraries import EDGETPU as LIBRARY
from orilla.devices.shared_libraries import built_for, native
from orilla.devices.shared_libraries import edgetpu_library as find_edgetpu

PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")
FORK = "feranick/libedgetpu"
"""GitHub repository of a libedgetpu build for current runtimes. Source: google-coral/libedgetpu issue 53,
google-ai-edge/LiteRT issue 3611."""


def examine(machine: Machine, root: Path = Path("/")) -> list[Finding]:
    """Return all findings. The list is empty without an accelerator and without libedgetpu."""
    sticks = [one for one in machine.accelerators if one.kind.startswith("edgetpu")]
    found = [finding for one in machine.accelerators for finding in _device(one)]
    library = find_edgetpu(root)
    if sticks or library is not None:
        found.append(edgetpu_library(library, _version(root), machine))
    return found


def _device(one: Accelerator) -> list[Finding]:
    if not one.usable:
        fix = "sudo apt install gasket-dkms && sudo reboot" if one.kind == "edgetpu-pci" else "install its driver"
        # An unused Intel GPU is no problem. An unused device that was plugged in for inference is one.
        level: Level = "failure" if one.kind in ("edgetpu-pci", "hailo") else "warning"
        return [Finding(one.kind, level, f"{one.name}: its driver has created no device", fix)]
    if one.kind == "edgetpu-usb" and one.link_mbit is not None and one.link_mbit < USB3_MBIT:
        detail = f"{one.name}: on a USB 2 port or cable ({one.link_mbit} Mbit/s), a tenth of the speed of USB 3"
        return [Finding(one.kind, "warning", detail, "put it into a blue port, with the cable that it came with")]
    return [Finding(one.kind, "ok", one.name)]


def edgetpu_library(library: Path | None, version: str | None, machine: Machine) -> Finding:
    """Check that libedgetpu is installed, built for this machine, and fits the runtime that loads it.

    Args:
        library: Path of the library, or None.
        version: Version of its Debian package. None if it belongs to no package.
        machine: This machine.
    """
    get = f"take the package for your system from github.com/{FORK} and run sudo apt install ./libedgetpu1-std_*.deb"
    if library is None:
        return Finding("libedgetpu", "failure", f"{LIBRARY} is not installed", get)
    machine_of = built_for(library)
    if machine_of is not None and machine_of != native():
        return Finding("libedgetpu", "failure", f"{library} is built for {machine_of}, not for {native()}", get)
    if version is None:
        return Finding(
            "libedgetpu",
            "ok",
            f"{library} belongs to no Debian package, so its version is unknown and may not fit the runtime",
        )
    built = re.search(r"tf(\d+\.\d+)", version)
    tflite = machine.engines.get("tflite-runtime") if "ai-edge-litert" not in machine.engines else None
    if built is None:
        detail = f"libedgetpu {version} is built for TensorFlow 2.5 of 2021: newer runtimes crash with it"
        return Finding("libedgetpu", "failure", detail, get)
    if tflite is not None and not tflite.startswith(built[1]):
        detail = f"libedgetpu {version} is built for TensorFlow {built[1]}, and tflite-runtime is {tflite}"
        return Finding("libedgetpu", "failure", detail, get)
    return Finding("libedgetpu", "ok", f"{version}, for TensorFlow {built[1]}")


def _version(root: Path) -> str | None:
    """Return the version of the Debian package that contains libedgetpu."""
    for paragraph in read(root / "var/lib/dpkg/status").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if lines.get("Package") in PACKAGES and lines.get("Status", "").endswith(" installed"):
            return lines.get("Version")
    return None

"""Accelerators: their port, their driver and their library."""

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
"""On GitHub: the library that is still built for today's runtimes. Source: google-coral/libedgetpu issue 53,
google-ai-edge/LiteRT issue 3611."""


def examine(machine: Machine, root: Path = Path("/")) -> list[Finding]:
    """All findings; none where there is no accelerator and no library of one."""
    sticks = [one for one in machine.accelerators if one.kind.startswith("edgetpu")]
    found = [finding for one in machine.accelerators for finding in _device(one)]
    library = find_edgetpu(root)
    if sticks or library is not None:
        found.append(edgetpu_library(library, _version(root), machine))
    return found


def _device(one: Accelerator) -> list[Finding]:
    if not one.usable:
        fix = "sudo apt install gasket-dkms && sudo reboot" if one.kind == "edgetpu-pci" else "install its driver"
        # An Intel GPU that nobody asks for is no fault; one that was plugged in for inference is.
        level: Level = "failure" if one.kind in ("edgetpu-pci", "hailo") else "warning"
        return [Finding(one.kind, level, f"{one.name}: there is no device of it here", fix)]
    if one.kind == "edgetpu-usb" and one.link_mbit is not None and one.link_mbit < USB3_MBIT:
        detail = f"{one.name}: on a USB 2 port or cable ({one.link_mbit} Mbit/s), a tenth of the speed of USB 3"
        return [Finding(one.kind, "warning", detail, "put it into a blue port, with the cable that it came with")]
    return [Finding(one.kind, "ok", one.name)]


def edgetpu_library(library: Path | None, version: str | None, machine: Machine) -> Finding:
    """Whether libedgetpu is there, for this machine, and of the age of the runtime that loads it.

    Args:
        version: of its Debian package; None where it has none.
    """
    get = f"take the package for your system from github.com/{FORK} and run sudo apt install ./libedgetpu1-std_*.deb"
    if library is None:
        return Finding("libedgetpu", "failure", f"{LIBRARY} is not installed", get)
    machine_of = built_for(library)
    if machine_of is not None and machine_of != native():
        return Finding("libedgetpu", "failure", f"{library} is built for {machine_of}, not for {native()}", get)
    if version is None:
        return Finding(
            "libedgetpu", "ok", f"{library}, of no Debian package: whether it fits the runtime can't be told"
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
    """Of the Debian package that it came with."""
    for paragraph in read(root / "var/lib/dpkg/status").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if lines.get("Package") in PACKAGES and lines.get("Status", "").endswith(" installed"):
            return lines.get("Version")
    return None

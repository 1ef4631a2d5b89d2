"""Check the port, the driver and the library of each accelerator."""

from __future__ import annotations

import re
from pathlib import Path

from orilla.devices.accelerators import USB3_MBIT, Accelerator
from orilla.devices.checks import npus
from orilla.devices.debian import packages
from orilla.devices.detect import Machine
from orilla.devices.finding import Finding, Level
from orilla.devices.reading import read
from orilla.devices.shared_libraries import EDGETPU as LIBRARY
from orilla.devices.shared_libraries import built_for, native
from orilla.devices.shared_libraries import edgetpu_library as find_edgetpu

PACKAGES = ("libedgetpu1-std", "libedgetpu1-max")
"""Debian packages of libedgetpu."""

FORK = "feranick/libedgetpu"
"""GitHub repository with builds of libedgetpu for current versions of LiteRT. Source: google-coral/libedgetpu issue 53,
google-ai-edge/LiteRT issue 3611."""

GASKET_FORK = "feranick/gasket-driver"
"""GitHub repository with the driver of a Coral on PCI Express for current kernels."""

GASKET_FAILS = (6, 8)
"""First version of Linux for which Google's package `gasket-dkms` cannot be built. Source: google-coral/edgetpu issues
866, 905 and 911."""

INSTALL = (
    f"download the package for your system from github.com/{FORK} and run sudo apt install ./libedgetpu1-std_*.deb"
)


def examine(machine: Machine, root: Path = Path("/")) -> list[Finding]:
    """Return all findings. The list is empty on a machine without an accelerator and without libedgetpu."""
    findings = [_device(item, root) for item in machine.accelerators if item.kind not in npus.CHECKS]
    findings += npus.examine(machine, root)
    if (onnxruntime := npus.jetson(machine)) is not None:
        findings.append(onnxruntime)
    has_edgetpu = any(accelerator.kind.startswith("edgetpu") for accelerator in machine.accelerators)
    library = find_edgetpu(root)
    if has_edgetpu or library is not None:
        findings.append(edgetpu_library(library, _version(root), machine))
    return findings


def _device(accelerator: Accelerator, root: Path) -> Finding:
    """Check that an accelerator has a driver and a fast port."""
    kind, name, link_mbit = accelerator.kind, accelerator.name, accelerator.link_mbit
    if not accelerator.usable:
        fix = _gasket(root) if kind == "edgetpu-pci" else "install its driver"
        # An unused Intel GPU is not a problem. An accelerator that was plugged in but cannot be used is a problem.
        level: Level = "failure" if kind == "edgetpu-pci" else "warning"
        return Finding(kind, level, f"{name}: its driver has created no device", fix)
    if kind == "edgetpu-usb" and link_mbit is not None and link_mbit < USB3_MBIT:
        detail = f"{name}: connected through a USB 2 port or cable ({link_mbit} Mbit/s), a tenth of the speed of USB 3"
        return Finding(kind, "warning", detail, "plug it into a USB 3 port (blue), with the cable that came with it")
    return Finding(kind, "ok", name)


def _gasket(root: Path) -> str:
    """Return the command that installs the driver of a Coral on PCI Express for this kernel."""
    numbers = re.match(r"(\d+)\.(\d+)", read(root / "proc/sys/kernel/osrelease"))
    if numbers is None or (int(numbers[1]), int(numbers[2])) < GASKET_FAILS:
        return "sudo apt install gasket-dkms && sudo reboot"
    return (
        f"Google's gasket-dkms cannot be built for Linux {numbers[0]}: download gasket-dkms_*_all.deb from "
        f"github.com/{GASKET_FORK}/releases, and run sudo apt install ./gasket-dkms_*_all.deb && sudo reboot"
    )


def edgetpu_library(library: Path | None, version: str | None, machine: Machine) -> Finding:
    """Check that libedgetpu is installed, is built for this machine, and is compatible with the runtime that loads it.

    Args:
        library: Path of the library. None if it is not installed.
        version: Version of the Debian package that contains it. None if it belongs to no package.
        machine: The machine.
    """
    if library is None:
        return Finding("libedgetpu", "failure", f"{LIBRARY} is not installed", INSTALL)
    architecture = built_for(library)
    if architecture is not None and architecture != native():
        return Finding("libedgetpu", "failure", f"{library} is built for {architecture}, not for {native()}", INSTALL)
    if version is None:
        detail = f"{library} belongs to no Debian package, so its version is unknown and may not match the runtime"
        return Finding("libedgetpu", "ok", detail)
    return _library_version(version, machine)


def _library_version(version: str, machine: Machine) -> Finding:
    """Check that libedgetpu is compatible with the runtime.

    The version of the package contains the TensorFlow version that libedgetpu was built for.
    """
    built = re.search(r"tf(\d+\.\d+)", version)
    tflite = machine.engines.get("tflite-runtime") if "ai-edge-litert" not in machine.engines else None
    if built is None:
        detail = f"libedgetpu {version} is built for TensorFlow 2.5, released in 2021: newer runtimes crash with it"
        return Finding("libedgetpu", "failure", detail, INSTALL)
    if tflite is not None and not tflite.startswith(built[1]):
        detail = f"libedgetpu {version} is built for TensorFlow {built[1]}, but tflite-runtime {tflite} is installed"
        return Finding("libedgetpu", "failure", detail, INSTALL)
    return Finding("libedgetpu", "ok", f"{version}, for TensorFlow {built[1]}")


def _version(root: Path) -> str | None:
    """Return the version of the installed Debian package that contains libedgetpu, or None."""
    versions = packages(root)
    return next((versions[name] or None for name in PACKAGES if name in versions), None)

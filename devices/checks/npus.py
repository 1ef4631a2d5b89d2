"""Check the drivers of accelerators that only some boards have: Hailo, IMX500, Rockchip, Ethos-U and Jetson."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from orilla.devices.accelerators import Accelerator
from orilla.devices.debian import packages
from orilla.devices.detect import Machine
from orilla.devices.finding import Finding
from orilla.devices.packages import installed

HAILO_PACKAGES = {"Hailo-8": "hailo-all", "Hailo-10H": "dkms hailo-h10-all"}
"""Packages of Raspberry Pi OS by chip. Only one of them can be installed."""

HAILO_MODULES = {"Hailo-8": "hailo_pci", "Hailo-10H": "hailo1x_pci"}
"""Kernel module by chip. Each module supports only its own chip. Source: nerves-project/nerves_system_rpi5 issue 103
and hailo-ai/hailo-rpi5-examples issue 192."""

HAILO_LIBRARIES, HAILO_BINDINGS = ("hailort", "h10-hailort"), ("python3-hailort", "python3-h10-hailort")
"""Debian packages of Hailo's library, and of its Python package, which must have the same version."""

IMX500_FIRMWARE = ("lib/firmware/imx500_firmware.fpk", "usr/share/imx500-models")
"""Files of the package `imx500-all`."""

JETSON_INDEXES = {
    "36": "https://pypi.jetson-ai-lab.io/jp6/cu126",
}
"""Package index with ONNX Runtime for the GPU, by major version of Jetson Linux. JetPack 6 contains version 36 and has
Python 3.10. Source: dusty-nv/jetson-containers issue 1283."""

UNUSED = "no Orilla engine uses it, so models run on the CPU"


def examine(machine: Machine, root: Path = Path("/")) -> list[Finding]:
    """Return the findings about the accelerators whose kind is in `CHECKS`."""
    return [CHECKS[item.kind](item, root) for item in machine.accelerators if item.kind in CHECKS]


def hailo(accelerator: Accelerator, root: Path) -> Finding:
    """Check that the kernel module matches the chip, and that library and Python package have the same version."""
    chip = accelerator.name if accelerator.name in HAILO_PACKAGES else "Hailo-8"
    fix = f"sudo apt install {HAILO_PACKAGES[chip]} && sudo reboot"
    if not accelerator.usable:
        other = next((name for name in HAILO_MODULES.values() if (root / "sys/module" / name).exists()), None)
        detail = f"{accelerator.name}: its driver has created no device"
        if other is not None and other != HAILO_MODULES[chip]:
            old = next(HAILO_PACKAGES[name].split()[-1] for name in HAILO_MODULES if HAILO_MODULES[name] == other)
            detail = f"{accelerator.name}: the kernel module {other} is loaded, which does not support this chip"
            fix = f"sudo apt remove {old} && {fix}"
        return Finding("hailo", "failure", detail, fix)
    versions = packages(root)
    library = next((versions[name] for name in HAILO_LIBRARIES if name in versions), None)
    binding = installed(["hailort"]).get("hailort")
    binding = binding or next((versions[name] for name in HAILO_BINDINGS if name in versions), None)
    if library and binding and _release(library) != _release(binding):
        detail = f"{accelerator.name}: hailo_platform {binding} cannot load the installed HailoRT {library}"
        return Finding("hailo", "warning", detail, f"install both in one version: {fix}")
    return Finding("hailo", "ok", accelerator.name if library is None else f"{accelerator.name}, HailoRT {library}")


def imx500(accelerator: Accelerator, root: Path) -> Finding:
    """Check that the firmware of the sensor is installed."""
    if not any((root / path).exists() for path in IMX500_FIRMWARE):
        fix = "sudo apt install imx500-all && sudo reboot"
        return Finding("imx500", "warning", f"{accelerator.name}: its firmware is not installed", fix)
    detail = f"{accelerator.name}: usable as a camera (--source picamera2); its networks are not used by Orilla"
    return Finding("imx500", "ok", detail)


def rockchip(accelerator: Accelerator, root: Path) -> Finding:
    """Check that the kernel has a driver for the NPU, and that no link leads its library to the wrong device."""
    node = root / "dev/rknpu"
    if node.is_symlink():
        # Source: invisiofficial/rk-llama.cpp issue 19, airockchip/rknn-toolkit2 issue 534.
        detail = f"{accelerator.name}: /dev/rknpu is a link to {node.readlink()}, with which its library fails"
        return Finding("rockchip-npu", "warning", detail, "sudo rm /dev/rknpu; the library then finds /dev/dri itself")
    driver = "" if accelerator.usable else "this kernel has no driver for it, and "
    return Finding("rockchip-npu", "ok", f"{accelerator.name}: {driver}{UNUSED}")


def ethos_u(accelerator: Accelerator, root: Path) -> Finding:
    """Report an Ethos-U, which needs models that Vela has compiled."""
    del root
    return Finding("ethos-u", "ok", f"{accelerator.name}: {UNUSED}")


def jetson(machine: Machine) -> Finding | None:
    """Check that the installed ONNX Runtime can use the GPU of a Jetson. The package on PyPI cannot."""
    gpu = next((item.name for item in machine.accelerators if item.name.startswith("Jetson")), None)
    found = re.search(r"Jetson Linux (\d+)", gpu or "")
    if found is None or "onnxruntime" not in machine.engines:
        return None
    detail = (
        f"onnxruntime {machine.engines['onnxruntime']} comes from PyPI and has no CUDA for Jetson, so it uses the CPU"
    )
    index = JETSON_INDEXES.get(found[1])
    fix = (
        f"pip uninstall -y onnxruntime && pip install onnxruntime-gpu --index-url {index}"
        if index
        else "install the build of onnxruntime-gpu for your JetPack: elinux.org/Jetson_Zoo#ONNX_Runtime"
    )
    return Finding("onnxruntime on Jetson", "warning", detail, fix)


def _release(version: str) -> list[str]:
    """Return the first three numbers of a version such as `5.1.1-1`."""
    return re.findall(r"\d+", version)[:3]


CHECKS: dict[str, Callable[[Accelerator, Path], Finding]] = {
    "hailo": hailo,
    "imx500": imx500,
    "rockchip-npu": rockchip,
    "ethos-u": ethos_u,
}
"""The check of each kind of accelerator. `accelerators.py` checks the other kinds."""

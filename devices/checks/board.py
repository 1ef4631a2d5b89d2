"""Check the power, the clock, the memory and the operating system of the board."""

from __future__ import annotations

from orilla.devices.detect import THROTTLE, Machine
from orilla.devices.finding import Finding

MIN_FREE_MIB = 150
"""Free memory in MiB below which a camera loop may fail. A loop with one small LiteRT model takes about 100 MiB
(`python tests/perf/overhead.py --memory`)."""

HOT_C = 80.0
"""Temperature in degrees Celsius at which a Raspberry Pi starts to throttle. Source: Raspberry Pi documentation,
frequency management."""

GOVERNORS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
"""Glob pattern of the files that set the governor of each core."""


def examine(machine: Machine) -> list[Finding]:
    """Return all findings, including those that report no problem."""
    findings = [bits(machine), power(machine), temperature(machine), governor(machine), memory(machine)]
    return [finding for finding in findings if finding is not None]


def bits(machine: Machine) -> Finding | None:
    """Check whether the system is 32-bit. Few engines support 32-bit systems."""
    if machine.bits == 64:
        return None
    detail = (
        "32-bit system: LiteRT, ONNX Runtime, numpy and OpenCV have no wheels for it. The only engine is "
        "tflite-runtime 2.14 with Python 3.11 and the system's numpy and OpenCV; it runs int8, float32 and float16 "
        "LiteRT variants"
    )
    if "tflite-runtime" in machine.engines:
        return Finding("system", "warning", detail, "to use all engines, install a 64-bit operating system")
    fix = (
        "install a 64-bit operating system; or: sudo apt install python3-numpy python3-opencv && "
        "pip install --no-deps tflite-runtime==2.14.0"
    )
    return Finding("system", "failure", detail, fix)


def power(machine: Machine) -> Finding | None:
    """Check for under-voltage and throttling, now and since boot."""
    is_low, was_low = THROTTLE[0] in machine.throttled, THROTTLE[16] in machine.throttled
    if is_low or was_low:
        when = "now" if is_low else "since boot"
        detail = f"under-voltage {when}: the board slows down and may lose USB devices"
        fix = "use the board's own power supply and a short cable"
        return Finding("power", "failure" if is_low else "warning", detail, fix)
    if machine.throttled:
        return Finding("power", "warning", ", ".join(machine.throttled), "cool the board with a heat sink or a fan")
    return Finding("power", "ok", "no under-voltage, not throttled") if machine.board else None


def temperature(machine: Machine) -> Finding | None:
    """Check that the board does not throttle because of heat."""
    if machine.temperature_c is None:
        return None
    detail = f"{machine.temperature_c:.0f} degrees Celsius"
    if machine.temperature_c < HOT_C:
        return Finding("temperature", "ok", detail)
    detail += f": the board throttles at {HOT_C:.0f} degrees and above"
    return Finding("temperature", "warning", detail, "cool the board with a heat sink or a fan")


def governor(machine: Machine) -> Finding | None:
    """Check the governor, which sets the clock rate.

    If the clock rate follows the load, latencies depend on the recent load.
    """
    if machine.governor is None:
        return None
    if machine.governor == "performance":
        return Finding("governor", "ok", "performance")
    detail = f"{machine.governor}: the clock rate follows the load, so the first answers after a pause are late"
    return Finding("governor", "warning", detail, f"echo performance | sudo tee {GOVERNORS}")


def memory(machine: Machine) -> Finding | None:
    """Check that a camera loop with a small model fits into the free memory."""
    if machine.memory_free_mib is None:
        return None
    limit_mib = machine.memory_limit_mib
    limit = "" if limit_mib is None else f" of the {limit_mib} MiB that the control group allows"
    detail = f"{machine.memory_free_mib} MiB{limit} is free"
    if machine.memory_free_mib >= MIN_FREE_MIB:
        return Finding("memory", "ok", detail)
    fix = "stop other programs (ps aux --sort=-rss | head), or give the container more memory"
    return Finding("memory", "warning", f"{detail}: a loop with one small model needs about 100 MiB", fix)

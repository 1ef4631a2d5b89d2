"""Checks of the board: power, clock, memory and operating system."""

from __future__ import annotations

from orilla.devices.detect import THROTTLE, Machine
from orilla.devices.finding import Finding

LITTLE_MIB = 150
"""Memory below which a loop may fail, MiB. A LiteRT loop with one small model takes about 100 MiB (`python
tests/perf/overhead.py --memory`)."""

HOT_C = 80.0
"""Temperature at which a Raspberry Pi starts to throttle, degrees Celsius. Source: Raspberry Pi documentation,
frequency management."""

GOVERNORS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def examine(machine: Machine) -> list[Finding]:
    """Return all findings, including the positive ones."""
    found = [bits(machine), power(machine), temperature(machine), governor(machine), memory(machine)]
    return [finding for finding in found if finding is not None]


def bits(machine: Machine) -> Finding | None:
    """Check what works in 32-bit programs."""
    if machine.bits == 64:
        return None
    detail = (
        "32-bit system: LiteRT, ONNX Runtime, numpy and OpenCV have no wheels for it; only tflite-runtime 2.14 has, "
        "for Python 3.11, with the system's numpy and OpenCV: int8, float32 and float16 LiteRT variants"
    )
    if "tflite-runtime" in machine.engines:
        return Finding("system", "warning", detail, "for all engines, install the 64-bit system")
    fix = (
        "install the 64-bit system; or: sudo apt install python3-numpy python3-opencv && "
        "pip install --no-deps tflite-runtime==2.14.0"
    )
    return Finding("system", "failure", detail, fix)


def power(machine: Machine) -> Finding | None:
    """Check for under-voltage and throttling, now and since boot."""
    now, before = THROTTLE[0] in machine.throttled, THROTTLE[16] in machine.throttled
    if now or before:
        when = "now" if now else "since it was started"
        detail = f"under-voltage {when}: the board slows down and may lose USB devices"
        return Finding(
            "power", "failure" if now else "warning", detail, "use the board's own power supply and a short cable"
        )
    if machine.throttled:
        return Finding("power", "warning", ", ".join(machine.throttled), "cool it with a heat sink or a fan")
    return Finding("power", "ok", "no under-voltage, not throttled") if machine.board else None


def temperature(machine: Machine) -> Finding | None:
    """Check that the temperature is below the throttling threshold."""
    if machine.temperature_c is None:
        return None
    detail = f"{machine.temperature_c:.0f} degrees Celsius"
    if machine.temperature_c < HOT_C:
        return Finding("temperature", "ok", detail)
    return Finding(
        "temperature",
        "warning",
        f"{detail}: the board throttles from {HOT_C:.0f} degrees",
        "cool it with a heat sink or a fan",
    )


def governor(machine: Machine) -> Finding | None:
    """Check the governor. A governor that follows the load makes latencies depend on the recent past."""
    if machine.governor is None:
        return None
    if machine.governor == "performance":
        return Finding("governor", "ok", "performance")
    detail = f"{machine.governor}: the clock follows the load, so the first answers after a pause are late"
    return Finding("governor", "warning", detail, f"echo performance | sudo tee {GOVERNORS}")


def memory(machine: Machine) -> Finding | None:
    """Check that a model and its loop fit into the free memory."""
    if machine.memory_free_mib is None:
        return None
    of = "" if machine.memory_limit_mib is None else f", of the {machine.memory_limit_mib} MiB of its control group"
    detail = f"{machine.memory_free_mib} MiB are free{of}"
    if machine.memory_free_mib >= LITTLE_MIB:
        return Finding("memory", "ok", detail)
    fix = "stop other programs (ps aux --sort=-rss | head), or give the container more memory"
    return Finding("memory", "warning", f"{detail}: a loop with one small model needs about 100 MiB", fix)

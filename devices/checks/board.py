"""The board itself: its power, clock, memory and system."""

from __future__ import annotations

from orilla.devices.detect import THROTTLE, Machine
from orilla.devices.finding import Finding

LITTLE_MIB = 150
"""A LiteRT loop with one small model takes about 100 MiB (`python tests/perf/overhead.py --memory`)."""

HOT_C = 80.0
"""A Raspberry Pi begins to slow down at 80 degrees. Source: Raspberry Pi documentation, frequency management."""

GOVERNORS = "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"


def examine(machine: Machine) -> list[Finding]:
    """All findings, the good ones too."""
    found = [bits(machine), power(machine), temperature(machine), governor(machine), memory(machine)]
    return [finding for finding in found if finding is not None]


def bits(machine: Machine) -> Finding | None:
    """What works where programs are 32-bit ones."""
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
    """Whether the supply is too weak, now or before."""
    now, before = THROTTLE[0] in machine.throttled, THROTTLE[16] in machine.throttled
    if now or before:
        when = "now" if now else "since it was started"
        detail = f"under-voltage {when}: the board slows down, and USB devices are lost"
        return Finding(
            "power", "failure" if now else "warning", detail, "take the board's own supply and a short cable"
        )
    if machine.throttled:
        return Finding("power", "warning", ", ".join(machine.throttled), "cool it: a heat sink, a fan, air")
    return Finding("power", "ok", "no under-voltage, not throttled") if machine.board else None


def temperature(machine: Machine) -> Finding | None:
    """Whether it is about to slow down."""
    if machine.temperature_c is None:
        return None
    detail = f"{machine.temperature_c:.0f} degrees Celsius"
    if machine.temperature_c < HOT_C:
        return Finding("temperature", "ok", detail)
    return Finding(
        "temperature", "warning", f"{detail}: it slows down from {HOT_C:.0f} on", "cool it: a heat sink, a fan"
    )


def governor(machine: Machine) -> Finding | None:
    """Whether the clock follows the load, so that latencies depend on what happened just before."""
    if machine.governor is None:
        return None
    if machine.governor == "performance":
        return Finding("governor", "ok", "performance")
    detail = f"{machine.governor}: the clock follows the load, so the first answers after a pause are late"
    return Finding("governor", "warning", detail, f"echo performance | sudo tee {GOVERNORS}")


def memory(machine: Machine) -> Finding | None:
    """Whether a model and its loop find room."""
    if machine.memory_free_mib is None:
        return None
    of = "" if machine.memory_limit_mib is None else f", of the {machine.memory_limit_mib} MiB of its control group"
    detail = f"{machine.memory_free_mib} MiB can be had{of}"
    if machine.memory_free_mib >= LITTLE_MIB:
        return Finding("memory", "ok", detail)
    fix = "end other programs (ps aux --sort=-rss | head), or give the container more"
    return Finding("memory", "warning", f"{detail}: a loop with one small model takes about 100 MiB", fix)

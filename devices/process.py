"""The memory that this process uses."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.reading import fields, read

_STATUS = Path("/proc/self/status")


def memory_mib() -> float | None:
    """Return the resident memory in MiB, or None if the kernel does not report it."""
    return _mib("VmRSS")


def peak_mib() -> float | None:
    """Return the peak resident memory in MiB since the last successful `reset_peak`, or None if it is unknown."""
    return _mib("VmHWM")


def reset_peak() -> bool:
    """Reset the peak of the resident memory. Return False if the kernel does not allow it.

    Source: proc(5), clear_refs.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _mib(key: str) -> float | None:
    words = next(iter(fields(read(_STATUS), key)), "").split()
    return round(int(words[0]) / 1024, 2) if words else None

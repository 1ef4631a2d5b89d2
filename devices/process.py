"""What this process takes of the machine."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.reading import fields, read

_STATUS = Path("/proc/self/status")


def memory_mib() -> float | None:
    """Resident memory now; None where the kernel does not tell."""
    return _mib("VmRSS")


def peak_mib() -> float | None:
    """Resident memory at its peak, since the last `reset_peak`, where that worked."""
    return _mib("VmHWM")


def reset_peak() -> bool:
    """Forgets the peak so far; False where the kernel does not let it. Source: proc(5), clear_refs."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _mib(key: str) -> float | None:
    words = next(iter(fields(read(_STATUS), key)), "").split()
    return round(int(words[0]) / 1024, 2) if words else None

"""Energy and power, where the machine shows them: Intel's and AMD's RAPL counters, and INA current sensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import number, read

PACKAGE = ("package", "psys")
"""RAPL domains that hold the others; `psys` is the whole platform, and holds the packages."""

SENSORS = ("ina219", "ina220", "ina226", "ina230", "ina231", "ina3221")
"""Names of the current sensors that boards carry, as the kernel's drivers give them."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One RAPL domain's energy, microjoules, which begins again at `wraps`."""

    path: Path
    wraps: int


class PowerMeter:
    """Adds up energy between readings; a sensor of power is taken to hold its value until the next one.

    Args:
        root: below which `/sys` is.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._counters = _counters(root)
        self._last = {one.path: number(one.path) for one in self._counters}
        self._monitors = [] if self._counters else _monitors(root)
        self._last_s: float | None = None
        self.joules = 0.0

    @property
    def source(self) -> str | None:
        """What the figure comes from; None where the machine shows none."""
        if self._counters:
            return "RAPL, processor package"
        return "INA sensors, board" if self._monitors else None

    def read(self, now_s: float) -> float | None:
        """Adds what was used since the last reading, and returns the power over that time, watts."""
        if self.source is None:
            return None
        passed = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        if self._counters:
            used = sum(self._used(one) for one in self._counters) / 1e6
            if passed:
                self.joules += used
            return used / passed if passed else None
        watts = sum(_watts(monitor) for monitor in self._monitors)
        self.joules += watts * passed
        return watts

    def _used(self, counter: Counter) -> int:
        now, before = number(counter.path), self._last[counter.path]
        self._last[counter.path] = now
        if now is None or before is None:
            return 0
        return now - before if now >= before else now + counter.wraps - before


def _counters(root: Path) -> list[Counter]:
    """The readable domains that hold the others: `psys` alone where it is there, else every package."""
    found: dict[str, list[Counter]] = {name: [] for name in PACKAGE}
    for domain in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        kind = read(domain / "name").strip().partition("-")[0]
        wraps = number(domain / "max_energy_range_uj")
        if kind in found and wraps and number(domain / "energy_uj") is not None:
            found[kind].append(Counter(domain / "energy_uj", wraps))
    return found["psys"] or found["package"]


def _monitors(root: Path) -> list[Path]:
    return [
        monitor
        for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*"))
        if read(monitor / "name").strip() in SENSORS and _watts(monitor) > 0
    ]


def _watts(monitor: Path) -> float:
    """Of one sensor: microwatts where it tells them, else millivolts times milliamperes of each channel.

    A channel that is the sum of the others (INA3221's seventh) is left out; Jetson boards name the rail that all
    others hang on `VDD_IN`, and then only that one counts.
    """
    if (power := number(monitor / "power1_input")) is not None:
        return power / 1e6
    found = {}
    for channel in range(1, 4):
        volts, amperes = number(monitor / f"in{channel}_input"), number(monitor / f"curr{channel}_input")
        if volts is not None and amperes is not None:
            label = read(monitor / f"in{channel}_label").strip() or str(channel)
            found[label] = volts * amperes / 1e6
    return found.get("VDD_IN", sum(found.values()))

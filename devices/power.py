"""Energy and power, from the RAPL counters of Intel and AMD and from INA current sensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import number, read

PACKAGE = ("package", "psys")
"""RAPL domains that contain the others. `psys` is the whole platform and contains the packages."""

SENSORS = ("ina219", "ina220", "ina226", "ina230", "ina231", "ina3221")
"""Names of current sensors on boards, as the kernel's drivers name them."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Energy counter of one RAPL domain, microjoules. It restarts from zero at `wraps`."""

    path: Path
    wraps: int


class PowerMeter:
    """Sum of the energy between readings. A power sensor counts as constant until its next reading.

    Args:
        root: Root of the file system that contains `/sys`.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._counters = _counters(root)
        self._last = {one.path: number(one.path) for one in self._counters}
        self._monitors = [] if self._counters else _monitors(root)
        self._last_s: float | None = None
        self.joules = 0.0

    @property
    def source(self) -> str | None:
        """Return the source of the figure. None if the machine has no sensor."""
        if self._counters:
            return "RAPL, processor package"
        return "INA sensors, board" if self._monitors else None

    def read(self, now_s: float) -> float | None:
        """Add the energy since the last reading, and return the mean power over that time, watts."""
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
    """Return the readable top-level domains: `psys` if it exists, else every package."""
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
    """Return the power of one sensor, watts: its own value, or millivolts times milliamperes of each channel.

    A channel that is the sum of the others (INA3221's seventh) is ignored. Jetson boards name the main rail `VDD_IN`;
    then only that one counts.
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

"""Measure energy and power with the RAPL counters of Intel and AMD processors, or with INA current sensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orilla.devices.reading import number, read

TOP_DOMAINS = ("package", "psys")
"""Top-level RAPL domains. `psys` covers the whole platform, including the processor packages."""

SENSORS = ("ina219", "ina220", "ina226", "ina230", "ina231", "ina3221")
"""Names of the current sensors on boards, as the drivers of the kernel report them."""


@dataclass(frozen=True, slots=True)
class Counter:
    """Energy counter of one RAPL domain, in microjoules."""

    path: Path
    wraps: int
    """Value at which the counter restarts from zero."""


class PowerMeter:
    """Adds up the energy between readings.

    A power sensor's reading is assumed to apply to the whole time since the previous reading.

    Args:
        root: Root of the file system that contains `/sys`.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._counters = _counters(root)
        self._last = {counter.path: number(counter.path) for counter in self._counters}
        self._monitors = [] if self._counters else _monitors(root)
        self._last_s: float | None = None
        self.joules = 0.0
        """Energy in joules since the first reading."""

    @property
    def source(self) -> str | None:
        """Return the name of the energy or power sensor, or None if the machine has none."""
        if self._counters:
            return "RAPL, processor package"
        return "INA sensors, board" if self._monitors else None

    def read(self, now_s: float) -> float | None:
        """Add the energy since the previous reading, and return the power in watts.

        With an energy counter, the power is the mean since the previous reading, or None at the first reading. With a
        power sensor, it is the current value. If the machine has neither, the result is None.

        Args:
            now_s: The time in seconds, on a monotonic clock.
        """
        if self.source is None:
            return None
        elapsed_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        if self._counters:
            joules = sum(self._used(counter) for counter in self._counters) / 1e6
            if not elapsed_s:
                return None
            self.joules += joules
            return joules / elapsed_s
        watts = sum(_watts(monitor) for monitor in self._monitors)
        self.joules += watts * elapsed_s
        return watts

    def _used(self, counter: Counter) -> int:
        """Return the energy since the previous reading of a counter, in microjoules."""
        now, before = number(counter.path), self._last[counter.path]
        self._last[counter.path] = now
        if now is None or before is None:
            return 0
        return now - before if now >= before else now + counter.wraps - before


def _counters(root: Path) -> list[Counter]:
    """Return the readable top-level domains: `psys` if it exists, else every package."""
    counters: dict[str, list[Counter]] = {name: [] for name in TOP_DOMAINS}
    for domain in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        kind = read(domain / "name").strip().partition("-")[0]
        wraps = number(domain / "max_energy_range_uj")
        if kind in counters and wraps and number(domain / "energy_uj") is not None:
            counters[kind].append(Counter(domain / "energy_uj", wraps))
    return counters["psys"] or counters["package"]


def _monitors(root: Path) -> list[Path]:
    return [
        monitor
        for monitor in sorted((root / "sys/class/hwmon").glob("hwmon*"))
        if read(monitor / "name").strip() in SENSORS and _watts(monitor) > 0
    ]


def _watts(monitor: Path) -> float:
    """Return the power of one sensor in watts.

    A sensor reports its power, or the voltage and current of up to three channels. The other channels of an INA3221 are
    sums of these. If one channel is `VDD_IN`, the main rail of a Jetson board, only this channel is counted, because it
    includes the others.
    """
    if (power := number(monitor / "power1_input")) is not None:
        return power / 1e6
    watts = {}
    for channel in range(1, 4):
        millivolts, milliamperes = number(monitor / f"in{channel}_input"), number(monitor / f"curr{channel}_input")
        if millivolts is not None and milliamperes is not None:
            label = read(monitor / f"in{channel}_label").strip() or str(channel)
            watts[label] = millivolts * milliamperes / 1e6
    return watts.get("VDD_IN", sum(watts.values()))

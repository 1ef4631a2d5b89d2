"""Record temperature, clock frequency, power and CPU usage once per second during a measurement."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orilla.devices.clocks import Usage, mhz, usage
from orilla.devices.detect import temperature, throttled
from orilla.devices.power import PowerMeter

if TYPE_CHECKING:
    from typing_extensions import Self

PERIOD_S = 1.0

OTHERS = 0.25
"""Largest share of the free cores that other processes may use. If they use more, the second counts as disturbed. The
free cores are those that this process does not use. At least one core is assumed to be free."""

STOLEN = 0.05
"""Largest CPU time that the hypervisor may take, as a share of this process's CPU time. If it takes more, the second
counts as disturbed. At least one core is assumed to be in use."""


class Second(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of the machine at one reading, and its CPU usage since the previous reading."""

    at_s: float
    """Seconds since the measurement began."""
    temperature_c: float | None = None
    mhz: float | None = None
    watts: float | None = None
    own_cores: float | None = None
    """Mean number of cores that this process used."""
    other_cores: float | None = None
    """Mean number of cores that all other processes used."""
    stolen_cores: float | None = None
    """Mean number of cores that the hypervisor gave to other virtual machines (steal time)."""
    disturbed: bool = False


class Monitor:
    """Context manager whose thread records the state of the machine once per second."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.seconds: list[Second] = []
        self._root = root
        self._meter = PowerMeter(root)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="orilla-monitor", daemon=True)
        self._began = self._looked = time.perf_counter()
        self._usage, self._own = usage(root), time.process_time()
        self._throttled = throttled(root)

    def __enter__(self) -> Self:
        self._began = self._looked = time.perf_counter()
        self._usage, self._own = usage(self._root), time.process_time()
        self._meter.read(self._began)
        self._thread.start()
        return self

    def __exit__(self, *ended: object) -> None:
        self._stop.set()
        self._thread.join()
        if time.perf_counter() - self._looked > PERIOD_S / 2 or not self.seconds:
            self._look()

    @property
    def began(self) -> float:
        """Return the time at which the measurement began, in seconds on the clock of `time.perf_counter`."""
        return self._began

    @property
    def joules(self) -> float | None:
        """Return the energy in joules that the machine has used since the start, or None if it has no energy sensor."""
        return self._meter.joules if self._meter.source is not None else None

    @property
    def energy_source(self) -> str | None:
        """Return the name of the sensor that measures the energy, or None if the machine has no such sensor."""
        return self._meter.source

    def new_throttling(self) -> tuple[str, ...]:
        """Return the reasons why the machine was throttled during the measurement."""
        return tuple(
            reason for reason in throttled(self._root) if reason not in self._throttled or reason.endswith("now")
        )

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self._look()

    def _look(self) -> None:
        now, own, used = time.perf_counter(), time.process_time(), usage(self._root)
        passed = now - self._looked
        mine = (own - self._own) / passed if passed > 0 else 0.0
        others, stolen, disturbed = _disturbance(self._usage, used, mine, passed)
        watts, hot, clock = self._meter.read(now), temperature(self._root), mhz(self._root)
        at_s = round(now - self._began, 3)
        mine = round(mine, 3)
        self.seconds.append(Second(at_s, hot, clock, watts, mine, others, stolen, disturbed))
        self._looked, self._own, self._usage = now, own, used


def _disturbance(
    before: Usage | None, now: Usage | None, own: float, passed: float
) -> tuple[float | None, float | None, bool]:
    """Return the number of cores that other processes used, and the number that the hypervisor used.

    The third value is True if either number is too large.

    Args:
        before: CPU usage at the previous reading.
        now: CPU usage at this reading.
        own: Number of cores that this process used.
        passed: Seconds between the two readings.
    """
    if before is None or now is None or passed <= 0:
        return None, None, False
    others = max(0.0, (now.busy - before.busy) / passed - own)
    stolen = max(0.0, (now.stolen - before.stolen) / passed)
    allowed = OTHERS * max(1.0, now.cores - own)
    return round(others, 3), round(stolen, 3), others > allowed or stolen > STOLEN * max(1.0, own)

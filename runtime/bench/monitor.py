"""Record temperature, clock, power and the use of the cores once per second during a measurement."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

import msgspec

from orilla.devices.clocks import Usage, mhz, usage
from orilla.devices.detect import temperature, throttled
from orilla.devices.power import PowerMeter

PERIOD_S = 1.0

OTHERS = 0.25
"""Share of the free cores that other processes may use before a second counts as disturbed; at least a share of one
core."""

STOLEN = 0.05
"""Share of the used cores' time that the hypervisor may take. A second in which it takes more counts as disturbed."""


class Second(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """State of the machine at one moment, and the use of its cores since the previous reading."""

    at_s: float
    """Seconds since the measurement began."""
    temperature_c: float | None = None
    mhz: float | None = None
    watts: float | None = None
    own_cores: float | None = None
    """Number of cores that this process used, as a mean over the second."""
    other_cores: float | None = None
    """Number of cores that all other processes used."""
    stolen_cores: float | None = None
    """Number of cores that the hypervisor took."""
    disturbed: bool = False


class Monitor:
    """Thread that reads the machine once per second within a `with` block."""

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
        """Return the start by `time.perf_counter`."""
        return self._began

    @property
    def joules(self) -> float | None:
        """Return the energy that the machine used since the start, in joules; None without a sensor."""
        return self._meter.joules if self._meter.source is not None else None

    @property
    def energy_source(self) -> str | None:
        """Return the source of the energy figure."""
        return self._meter.source

    def new_throttling(self) -> tuple[str, ...]:
        """Return the reasons for throttling that appeared during the measurement."""
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
    """Return the cores that others used and that were stolen, and True if that is too much."""
    if before is None or now is None or passed <= 0:
        return None, None, False
    others = max(0.0, (now.busy - before.busy) / passed - own)
    stolen = max(0.0, (now.stolen - before.stolen) / passed)
    allowed = OTHERS * max(1.0, now.cores - own)
    return round(others, 3), round(stolen, 3), others > allowed or stolen > STOLEN * max(1.0, own)

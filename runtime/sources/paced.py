"""Play a recording at its own rate, as a camera would deliver it."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Event, Frame, Line
from orilla.runtime.sources.source import SLICE_S, Source, now_ns


class Paced:
    """Delivers each frame when its time has come, and stamps it with that time.

    If decoding is slower than the rate, the recording plays slower, and no frame is older than it is.

    Args:
        source: A recording with a frame rate.
        clock: Monotonic clock, nanoseconds.
        wait: Function that sleeps for seconds.

    Raises:
        ConfigError: The source has no frame rate.
    """

    live = True

    def __init__(
        self, source: Source, *, clock: Callable[[], int] = now_ns, wait: Callable[[float], None] = time.sleep
    ) -> None:
        if not source.rate_hz:
            msg = "this source has no frame rate: use policy every"
            raise ConfigError(msg)
        self._source, self._clock, self._wait = source, clock, wait
        self.rate_hz: float | None = source.rate_hz
        self._period_ns = 1e9 / source.rate_hz
        self._start_ns: int | None = None
        self._next: Frame | Line | Event | None = None

    def read(self) -> Frame | Line | Event | None:
        found = self._next or self._source.read()
        if found is None or isinstance(found, Event):
            return found
        if self._start_ns is None:
            self._start_ns = self._clock()
        due_ns = self._start_ns + int(found.index * self._period_ns)
        left_s = (due_ns - self._clock()) / 1e9
        if left_s > SLICE_S:
            self._next = found
            self._wait(SLICE_S)
            return Event("waiting", found.index, self._clock(), "its time has not come")
        self._next = None
        if left_s > 0:
            self._wait(left_s)
            return replace(found, captured_ns=due_ns)
        self._start_ns -= int(1e9 * left_s)
        return found

    def close(self) -> None:
        self._source.close()

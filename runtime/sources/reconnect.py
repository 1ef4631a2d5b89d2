"""Reopen a live source that was unplugged, stalled or ended. The loop receives events and continues."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, EventKind, Frame, Line
from orilla.runtime.sources.source import SLICE_S, Source, now_ns

FIRST_WAIT_S, MAX_WAIT_S = 0.25, 2.0
"""First and maximum wait between two attempts, seconds. The wait doubles after each failure."""

TRIES = 5
"""Attempts after which a source that opens but never delivers a frame is an error."""


class Reconnecting:
    """Source that reopens another one whenever it fails. Frame numbers continue.

    Args:
        opener: Function that opens the source. It raises `SourceError`.
        name: Name of the source in events.
        clock: Monotonic clock, nanoseconds.
        wait: Function that sleeps for seconds.
    """

    live = True

    def __init__(
        self,
        opener: Callable[[], Source],
        name: str,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._opener, self._name = opener, name
        self._clock, self._wait = clock, wait
        self._source: Source | None = opener()
        self.rate_hz = self._source.rate_hz
        self._offset = self._next = 0
        self._failures = 0
        self._due_ns = self._lost_ns = 0
        self._lost = self._gave = False
        self._kept: Frame | Line | None = None

    def read(self) -> Frame | Line | Event | None:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            return kept
        if self._source is None and not self._open_again():
            return self._event("waiting", f"{self._name} is still absent")
        assert self._source is not None
        try:
            found = self._source.read()
        except SourceError as error:
            return self._lose(str(error))
        if found is None:
            return self._lose(f"{self._name} ended")
        if self._offset:
            found = replace(found, index=self._offset + found.index)
        self._next = found.index + 1
        if isinstance(found, Event):
            return found
        self._failures, self._gave = 0, True
        if not self._lost:
            return found
        self._lost, self._kept = False, found
        seconds = (self._clock() - self._lost_ns) / 1e9
        return Event("back", found.index, self._clock(), f"{self._name} is back after {seconds:.1f} s")

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def _lose(self, reason: str) -> Event:
        assert self._source is not None
        self._source.close()
        self._source = None
        self._offset = self._next
        self._fail(reason)
        if self._lost:
            return self._event("waiting", reason)
        self._lost, self._lost_ns = True, self._clock()
        return self._event("lost", f"{reason}; retrying")

    def _open_again(self) -> bool:
        left_s = (self._due_ns - self._clock()) / 1e9
        if left_s > 0:
            self._wait(min(left_s, SLICE_S))
            return False
        try:
            self._source = self._opener()
        except SourceError as error:
            self._fail(str(error))
            return False
        return True

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if not self._gave and self._failures >= TRIES:
            msg = f"{reason}; {self._name} delivered no frame in {TRIES} tries"
            raise SourceError(msg)
        wait_s = min(FIRST_WAIT_S * 2 ** min(self._failures - 1, 16), MAX_WAIT_S)
        self._due_ns = self._clock() + int(1e9 * wait_s)

    def _event(self, kind: EventKind, detail: str) -> Event:
        return Event(kind, self._next, self._clock(), detail)

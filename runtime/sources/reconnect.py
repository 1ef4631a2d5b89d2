"""Source that reopens a live source after it was unplugged, stalled or ended. The loop continues to run meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from msgspec.structs import replace

from orilla.devices.errors import OrillaError, SourceError
from orilla.runtime.frame import Event, EventKind, Frame, Line, Record
from orilla.runtime.sources.source import SLICE_S, Source, now_ns

FIRST_WAIT_S, MAX_WAIT_S = 0.25, 2.0
"""First and longest waiting time between two attempts, in seconds. The time doubles after each failure."""

TRIES = 5
"""Number of failed attempts after which an error is raised, if the source has never delivered a frame."""


class Reconnecting:
    """Reopens a source whenever it fails. The frame indices continue.

    Args:
        opener: Function that opens the source, or raises `SourceError`.
        name: Name of the source in events.
        clock: Monotonic clock in nanoseconds.
        wait: Function that sleeps for a given number of seconds.
        first_wait_s: Waiting time in seconds before the first attempt to reopen the source.
    """

    live = True

    def __init__(
        self,
        opener: Callable[[], Source],
        name: str,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], None] = time.sleep,
        first_wait_s: float = FIRST_WAIT_S,
    ) -> None:
        self._opener, self._name = opener, name
        self._clock, self._wait, self._first_wait_s = clock, wait, first_wait_s
        self._source: Source | None = opener()
        self.rate_hz = self._source.rate_hz
        self._offset = self._next = 0
        self._failures = 0
        self._due_ns = self._lost_ns = 0
        self._lost = self._delivered = False
        self._pending: Frame | Line | Record | None = None
        """First frame after the source was lost. `read` returns it after the event `back`."""

    def read(self) -> Frame | Line | Record | Event | None:
        """Return the next frame or an event, or None at the end."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        if self._source is None and not self._open_again():
            return self._event("waiting", f"{self._name} is still absent")
        assert self._source is not None
        try:
            frame = self._source.read()
        except Exception as error:  # noqa: BLE001 - `_reason` raises some of them again
            return self._lose(_reason(error))
        if frame is None:
            return self._lose(f"{self._name} ended")
        if self._offset:
            frame = replace(frame, index=self._offset + frame.index)
        if isinstance(frame, Event):
            # Only events of the kind `corrupt` have their own frame index.
            self._next = frame.index + (frame.kind == "corrupt")
            return frame
        self._next = frame.index + 1
        self._failures, self._delivered = 0, True
        if not self._lost:
            return frame
        self._lost, self._pending = False, frame
        seconds = (self._clock() - self._lost_ns) / 1e9
        return Event("back", frame.index, self._clock(), f"{self._name} is back after {seconds:.1f} s")

    def close(self) -> None:
        """Release the source."""
        if self._source is not None:
            self._source.close()

    def _lose(self, reason: str) -> Event:
        assert self._source is not None
        with suppress(Exception):  # Closing a device that is gone may raise an error.
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
        except Exception as error:  # noqa: BLE001 - see `read`
            self._fail(_reason(error))
            return False
        return True

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if not self._delivered and self._failures >= TRIES:
            msg = f"{reason}; {self._name} delivered no frame in {TRIES} tries"
            raise SourceError(msg)
        wait_s = min(self._first_wait_s * 2 ** min(self._failures - 1, 16), MAX_WAIT_S)
        self._due_ns = self._clock() + int(1e9 * wait_s)

    def _event(self, kind: EventKind, detail: str) -> Event:
        return Event(kind, self._next, self._clock(), detail)


def _reason(error: Exception) -> str:
    """Return the reason why the source was lost in one line. Raise the error again if the user has to fix something.

    Drivers, libraries and plug-ins raise errors of many kinds, for example if the process has no file descriptor left.
    A robot must keep trying then.
    """
    if isinstance(error, SourceError):
        return str(error)
    if isinstance(error, OrillaError):
        raise error
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__

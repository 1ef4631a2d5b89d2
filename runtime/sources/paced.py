"""Source that plays a recorded source at its frame rate, as a camera would deliver it."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec.structs import replace

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Event, Frame, Line, Record, media_time_ns
from orilla.runtime.sources.source import SLICE_S, Source, now_ns


class Paced:
    """Delivers each frame of a recorded source when the frame is due. The capture time is the time of delivery.

    Frames of a video file are due at their presentation times, so a variable frame rate is kept. If decoding takes
    longer than the time between two frames, the source plays more slowly.

    Args:
        source: A recorded source with a frame rate.
        clock: Monotonic clock in nanoseconds.
        wait: Function that sleeps for a given number of seconds.

    Raises:
        ConfigError: The source has no frame rate.
    """

    live = True

    def __init__(
        self, source: Source, *, clock: Callable[[], int] = now_ns, wait: Callable[[float], None] = time.sleep
    ) -> None:
        if not source.rate_hz:
            msg = "this source has no frame rate: use policy=every"
            raise ConfigError(msg)
        self._source, self._clock, self._wait = source, clock, wait
        self.rate_hz: float | None = source.rate_hz
        self._start_ns: int | None = None
        self._next: Frame | Line | Record | Event | None = None

    def read(self) -> Frame | Line | Record | Event | None:
        """Return the next frame or an event, or None at the end."""
        frame = self._next or self._source.read()
        if frame is None or isinstance(frame, Event):
            return frame
        if self._start_ns is None:
            self._start_ns = self._clock()
        due_ns = self._start_ns + (media_time_ns(frame, self.rate_hz) or 0)
        left_s = (due_ns - self._clock()) / 1e9
        if left_s > SLICE_S:
            self._next = frame
            self._wait(SLICE_S)
            return Event("waiting", frame.index, self._clock(), "the next frame is not due yet")
        self._next = None
        if left_s > 0:
            self._wait(left_s)
            return replace(frame, captured_ns=due_ns)
        self._start_ns -= int(1e9 * left_s)
        return frame

    def close(self) -> None:
        """Release the source."""
        self._source.close()

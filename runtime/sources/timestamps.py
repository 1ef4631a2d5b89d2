"""Convert the presentation times of a stream to the monotonic clock."""

from __future__ import annotations

WINDOW_NS = 5_000_000_000
"""Length in nanoseconds of the window for which `PresentationClock` keeps the smallest delay between presentation and
arrival. After one to two windows, that delay is forgotten, so that the conversion of time stamps adapts to a clock that
drifts or a server that paused."""


class PresentationClock:
    """Converts presentation times to the monotonic clock. The frame with the smallest recent delay is the reference.

    A frame that waits in a network or a decoder arrives late, never early. The smallest difference between arrival and
    presentation time is therefore the best estimate of the offset between the clocks. The estimate still contains the
    smallest delay itself.
    """

    def __init__(self) -> None:
        self._presented_ms: float | None = None
        self._began_ns = 0
        self._previous: float | None = None
        self._smallest = 0.0

    def captured_ns(self, presented_ms: float, arrived_ns: int) -> int:
        """Return the capture time of a frame, which is never after its arrival.

        Args:
            presented_ms: Presentation time in milliseconds, relative to any origin. If it is less than that of the
                previous frame, the stream has restarted.
            arrived_ns: Time of arrival on the monotonic clock, in nanoseconds.
        """
        offset_ns = arrived_ns - 1e6 * presented_ms
        if self._presented_ms is None or presented_ms < self._presented_ms:
            self._previous, self._smallest, self._began_ns = None, offset_ns, arrived_ns
        elif arrived_ns - self._began_ns >= WINDOW_NS:
            self._previous, self._smallest, self._began_ns = self._smallest, offset_ns, arrived_ns
        self._presented_ms = presented_ms
        self._smallest = min(self._smallest, offset_ns)
        shortest_ns = self._smallest if self._previous is None else min(self._smallest, self._previous)
        return min(arrived_ns, round(shortest_ns + 1e6 * presented_ms))

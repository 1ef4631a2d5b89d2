"""From a stream's own clock to the monotonic one."""

from __future__ import annotations

WINDOW_NS = 5_000_000_000
"""Looked back on for the shortest way: this long at least, twice as long at most. What lies further back is forgotten,
so that a clock that drifts, or a server that paused, is followed."""


class PresentationClock:
    """Maps presentation times to the monotonic clock by the frame that had the shortest way lately.

    A frame that waited in a network or a decoder arrives late, never early: the least difference between arrival and
    presentation time is the nearest to the moment of capture. What stays in it is the shortest delay itself.
    """

    def __init__(self) -> None:
        self._presented_ms: float | None = None
        self._began_ns = 0
        self._before: float | None = None
        self._least = 0.0

    def captured_ns(self, presented_ms: float, arrived_ns: int) -> int:
        """When a frame was taken: never after it arrived.

        Args:
            presented_ms: its presentation time, milliseconds from any moment on; one that goes back is of a stream that
                began anew.
            arrived_ns: the monotonic clock when it was handed over.
        """
        offset_ns = arrived_ns - 1e6 * presented_ms
        if self._presented_ms is None or presented_ms < self._presented_ms:
            self._before, self._least, self._began_ns = None, offset_ns, arrived_ns
        elif arrived_ns - self._began_ns >= WINDOW_NS:
            self._before, self._least, self._began_ns = self._least, offset_ns, arrived_ns
        self._presented_ms = presented_ms
        self._least = min(self._least, offset_ns)
        shortest_ns = self._least if self._before is None else min(self._least, self._before)
        return min(arrived_ns, round(shortest_ns + 1e6 * presented_ms))

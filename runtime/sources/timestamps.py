"""Map a stream's clock to the monotonic clock."""

from __future__ import annotations

WINDOW_NS = 5_000_000_000
"""Window for the smallest delay, nanoseconds: between this length and twice this length. Older delays are forgotten, to
follow a clock that drifts or a server that paused."""


class PresentationClock:
    """Maps presentation times to the monotonic clock through the frame with the smallest recent delay.

    A frame that waited in a network or decoder arrives late, never early. The minimum difference between arrival and
    presentation time is therefore the best estimate of the capture time. The smallest delay itself remains in it.
    """

    def __init__(self) -> None:
        self._presented_ms: float | None = None
        self._began_ns = 0
        self._before: float | None = None
        self._least = 0.0

    def captured_ns(self, presented_ms: float, arrived_ns: int) -> int:
        """Return the capture time of a frame, which is never after its arrival.

        Args:
            presented_ms: Presentation time, milliseconds from any origin. A time that goes back means that the stream
                restarted.
            arrived_ns: Monotonic clock at arrival, nanoseconds.
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

"""From a stream's own clock to the monotonic one."""

from __future__ import annotations

DRIFT = 200e-6
"""How much faster or slower than ours a camera's clock may run: twice the 100 ppm that quartz oscillators keep."""


class PresentationClock:
    """Maps presentation times to the monotonic clock by the frame that had the shortest way so far.

    A frame that waited in a network or a decoder arrives late, never early: the least difference between arrival and
    presentation time is the nearest to the moment of capture. What stays in it is the shortest delay itself.
    """

    def __init__(self) -> None:
        self._offset_ns: float | None = None
        self._last_ns = 0

    def captured_ns(self, presented_ms: float, arrived_ns: int) -> int:
        """When a frame was taken: never after it arrived.

        Args:
            presented_ms: its presentation time, milliseconds from any moment on.
            arrived_ns: the monotonic clock when it was handed over.
        """
        offset_ns = arrived_ns - 1e6 * presented_ms
        if self._offset_ns is not None:
            offset_ns = min(offset_ns, self._offset_ns + DRIFT * (arrived_ns - self._last_ns))
        self._offset_ns, self._last_ns = offset_ns, arrived_ns
        return min(arrived_ns, round(offset_ns + 1e6 * presented_ms))

"""Decide by its pace whether a video of unknown length is a recording or a live stream."""

from __future__ import annotations

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from orilla.runtime.sources.source import now_ns

WINDOW_NS, WINDOWS = 500_000_000, 6
"""Length of a window in which the pace is measured, in nanoseconds, and number of windows. If the pace is high in all
of them, the video is a recording."""

FAST = 1.5
"""Smallest pace of a recording, in seconds of video per second. A recording arrives as fast as the network allows. A
live stream has a pace of 1, except at its start, when some servers send the last seconds at once."""

MAX_BURST_NS = 10_000_000_000
"""Longest part of a live stream, in nanoseconds, that a server sends at once at the start."""

MAX_PACKETS = 1000
"""Maximum number of packets that are read. A stream without times counts as live."""


class Pace:
    """Compares the times of packets with the clock.

    Args:
        began_ns: Time at which the first packet is read, on the monotonic clock, in nanoseconds.
    """

    def __init__(self, began_ns: int) -> None:
        self._began_ns = self._window_ns = began_ns
        self._first_ns: float | None = None
        self._window_first_ns = 0.0
        self._windows = 0

    def is_recording(self, time_ns: float, at_ns: int) -> bool | None:
        """Return True for a recording, False for a live stream, and None if this is not known yet.

        Args:
            time_ns: Time of the packet in the video, in nanoseconds, relative to any origin.
            at_ns: Time at which the packet was received, on the monotonic clock, in nanoseconds.
        """
        if self._first_ns is None:
            self._first_ns = self._window_first_ns = time_ns
        if time_ns - self._first_ns > MAX_BURST_NS + FAST * (at_ns - self._began_ns):
            return True
        passed_ns = at_ns - self._window_ns
        if passed_ns < WINDOW_NS:
            return None
        if time_ns - self._window_first_ns < FAST * passed_ns:
            return False
        self._window_ns, self._window_first_ns, self._windows = at_ns, time_ns, self._windows + 1
        return True if self._windows == WINDOWS else None


def is_recording(container: InputContainer, stream: VideoStream, read: list[Packet[VideoStream]]) -> bool:
    """Return True if a video ends soon, or arrives faster than a camera can produce it.

    For a live stream, this takes 0.5 s, or 1 s if the server sends the last seconds at once.

    Args:
        container: The opened video.
        stream: Its video stream.
        read: List to which the function appends the packets that it reads.
    """
    pace, base = Pace(now_ns()), stream.time_base
    try:
        for packet in container.demux(stream):
            if not packet.size:
                return True
            read.append(packet)
            if base is None or len(read) > MAX_PACKETS:
                return False
            if packet.dts is not None:
                verdict = pace.is_recording(1e9 * float(packet.dts * base), now_ns())
                if verdict is not None:
                    return verdict
    except av.FFmpegError:
        return False
    return True

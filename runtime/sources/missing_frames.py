"""Find the missing frames of a video file: frames that the decoder dropped, and frames missing at the end."""

from __future__ import annotations

import heapq
from contextlib import suppress
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from orilla.runtime.sources.video_container import CLOCK_RESTARTS, DECODING_ORDER, NO_TIMES, ONE_TO_ONE, PLAYLIST

MISSING_SHARE = 0.05
"""Share of the stated duration that may be missing at the end. If more is missing, the file counts as truncated. Some
containers only estimate their duration."""

MISSING_FRAMES = 2
"""Number of frames that may always be missing at the end, however short the file is."""


class MissingFrames:
    """Compares the presentation times of packets and decoded frames.

    A decoder returns frames in the order of their presentation times. A frame that is earlier than the last returned
    one, and was not returned, is therefore missing.

    Args:
        stream: The video stream.
        container: The opened file.
    """

    def __init__(self, stream: VideoStream, container: InputContainer) -> None:
        stated = not container.format.flags & NO_TIMES and container.format.name not in DECODING_ORDER
        self.active = stated and stream.codec.canonical_name in ONE_TO_ONE
        """False if frames cannot be matched with packets. Missing frames are then not detected."""
        self._expected: list[int] = []
        self._dts: int | None = None

    def sent(self, packet: Packet[VideoStream]) -> None:
        """Record that a packet was given to the decoder."""
        dts = packet.dts
        if dts is not None and self._dts is not None and dts < self._dts:  # The clock of the file has restarted.
            self.active = False
        self._dts = dts
        if self.active and packet.pts is not None and not packet.is_discard:
            heapq.heappush(self._expected, packet.pts)

    def before(self, frame: VideoFrame) -> list[int]:
        """Return the presentation times of the frames that should have been decoded before this one."""
        # Each field of an interlaced frame may have its own packet.
        if frame.pts is None or frame.interlaced_frame or frame.pts not in self._expected:
            self.active = False
        if not self.active:
            self._expected.clear()
            return []
        assert frame.pts is not None
        missing = self._taken(frame.pts)
        while self._expected and self._expected[0] == frame.pts:
            heapq.heappop(self._expected)
        return missing

    def rest(self) -> list[int]:
        """Return the presentation times of the frames that are missing at the end of the stream."""
        return self._taken(1 << 63) if self.active else []

    def _taken(self, end: int) -> list[int]:
        missing = []
        while self._expected and self._expected[0] < end:
            missing.append(heapq.heappop(self._expected))
        return missing


class StatedEnd:
    """Compares the end of a file with the end that its header states.

    Args:
        stream: The video stream.
        container: The opened file.
        period_s: Expected time from one frame to the next in seconds.
    """

    def __init__(self, stream: VideoStream, container: InputContainer, period_s: float) -> None:
        self._time_base = stream.time_base or Fraction(1, 1000)
        self._start = stream.start_time or 0
        self._period_s = period_s
        self._stated_s = _stated_s(stream, container, float(self._start * self._time_base), period_s)
        self._end = self._start

    def passed(self, packet: Packet[VideoStream]) -> None:
        """Record that a packet was read."""
        time = packet.dts if packet.pts is None else packet.pts
        if time is not None:
            self._end = max(self._end, time + (packet.duration or 0))

    def missing(self) -> str:
        """If the file ended early, return a text with the time of its end and the stated duration.

        Otherwise, return an empty string.
        """
        end_s = float((self._end - self._start) * self._time_base)
        if self._stated_s - end_s <= max(MISSING_FRAMES * self._period_s, MISSING_SHARE * self._stated_s):
            return ""
        return f"at {end_s:.2f} s of {self._stated_s:.2f} s"


def _stated_s(stream: VideoStream, container: InputContainer, start_s: float, period_s: float) -> float:
    """Return the duration of the stream in seconds that the header states, or 0 if it states none."""
    flags, name = container.format.flags, container.format.name
    if name == PLAYLIST:  # The playlist states the duration of each part.
        return (container.duration or 0) / av.time_base
    if flags & (CLOCK_RESTARTS | NO_TIMES):  # FFmpeg estimates the duration from the size or the last packets.
        return 0.0
    if name == "avi":  # If the file is shorter than its header states, FFmpeg changes the duration.
        return stream.frames * period_s
    if stream.duration is not None:
        return float(stream.duration * (stream.time_base or 0))
    stated = next((value for key, value in stream.metadata.items() if key.upper().startswith("DURATION")), "")
    with suppress(ValueError):  # Matroska states the time of the end, counted from 0.
        hours, minutes, seconds = (float(part) for part in stated.split(":"))
        return 3600 * hours + 60 * minutes + seconds - start_s
    only = len(container.streams) == 1 and name in ("matroska,webm", "flv")
    return (container.duration or 0) / av.time_base - start_s if only else 0.0

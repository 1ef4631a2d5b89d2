"""Source for video files. PyAV's FFmpeg decodes every frame, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from orilla.devices.errors import DataError, SourceError
from orilla.devices.names import readable
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.sources.av_frames import FrameConverter, reason_of
from orilla.runtime.sources.capture import MAX_CORRUPT
from orilla.runtime.sources.frame_times import FrameTimes
from orilla.runtime.sources.source import READY_BUFFERS, now_ns
from orilla.runtime.sources.video_container import converted, open_container, video_stream

MISSING_SHARE = 0.05
"""Share of the declared duration that may be missing at the end. If more is missing, the file counts as truncated. Some
containers only estimate their duration."""

MAX_UNREADABLE = 20
"""Number of consecutive packets that cannot be read after which the file counts as truncated."""

DEFAULT_RATE_HZ = 25.0
"""Frame rate by which frames without presentation time are timed if the file states no frame rate either."""


MAX_RATE_HZ = 1000.0
"""Largest plausible frame rate."""


class VideoFile:
    """Delivers the frames of one file.

    The capture time is the time of decoding. `time_ns` is the time from the first frame, from the presentation times.
    A damaged frame is skipped and reported. A file that ends early delivers its frames, and then an event.

    Args:
        container: The opened file.
        name: Name of the file in messages.

    Raises:
        SourceError: The file contains no video, or it cannot be decoded.
    """

    live = False

    def __init__(self, container: InputContainer, name: str) -> None:
        self._container, self._name = container, name
        self._stream = video_stream(container, name)
        self.rate_hz = _rate_of(self._stream)
        period_ns = round(1e9 / (self.rate_hz or DEFAULT_RATE_HZ))
        restarts = bool(container.format.flags & Flags.ts_discont.value)
        time_base = self._stream.time_base or Fraction(1, 1000)
        self._times = FrameTimes(time_base, period_ns, restarts=restarts)
        self._end = _End(self._stream, container)
        self._packets: Iterator[Packet[VideoStream]] | None = container.demux(self._stream)
        self._converter: FrameConverter[tuple[int, int]] = FrameConverter(BufferPool(READY_BUFFERS))
        self._ready: deque[Frame | Event] = deque()
        self._damaged: set[int] = set()
        self._index = self._corrupt = self._unreadable = 0
        self._reason = ""

    @classmethod
    def open(cls, path: Path) -> VideoFile:
        """Open a file. Raise `SourceError` if it is not a video."""
        container = open_container(path)
        try:
            return cls(container, readable(str(path)))
        except BaseException:
            container.close()
            raise

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end.

        Raises:
            SourceError: The file contains no frame that can be used.
        """
        while not self._ready and self._packets is not None:
            self._advance(self._packets)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Release the file."""
        self._packets = None
        self._container.close()

    def _advance(self, packets: Iterator[Packet[VideoStream]]) -> None:
        """Read and decode one packet."""
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            # The file may be readable again behind a damaged part.
            self._reason, self._unreadable = reason_of(error), self._unreadable + 1
            packet = None
            if self._unreadable < MAX_UNREADABLE:
                self._packets = self._container.demux(self._stream)
                return
        if packet is None:
            self._finish()
        elif packet.size:  # FFmpeg would take an empty packet for the end of the stream.
            self._unreadable = 0
            self._end.passed(packet)
            if packet.is_corrupt and packet.pts is not None:
                self._damaged.add(packet.pts)
            self._decode(packet)

    def _decode(self, packet: Packet[VideoStream] | None) -> None:
        """Decode a packet, or at the end of the stream the frames that the decoder holds back."""
        try:
            frames = self._stream.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError as error:
            self._skip(f"it cannot be decoded ({reason_of(error)})")
            return
        for frame in frames:
            pts = frame.dts if frame.pts is None else frame.pts
            times = self._times.of(pts), now_ns()
            if frame.is_corrupt or pts in self._damaged:
                self._damaged.discard(pts if pts is not None else 0)
                self._skip("it is damaged")
                continue
            try:
                self._deliver(self._converter.push(frame, times, self._stream.sample_aspect_ratio))
            except DataError as error:
                self._skip(str(error))

    def _finish(self) -> None:
        """Deliver the last frames. Report if the file ended early."""
        self._packets = None
        self._decode(None)
        self._deliver(self._converter.flush())
        if not self._index:
            reason = f" ({self._reason})" if self._reason else ""
            msg = f"no frames in {self._name}: it is empty, or damaged{reason}"
            raise SourceError(msg)
        missing = self._end.missing()
        if missing or self._unreadable >= MAX_UNREADABLE:
            detail = f"after frame {self._index - 1}{missing or f' ({self._reason})'}"
            text = f"{self._name} ends early, {detail}: the rest is missing, so copy or download it again"
            self._ready.append(Event("truncated", self._index, now_ns(), text))

    def _deliver(self, images: list[tuple[Image, tuple[int, int]]]) -> None:
        for image, (time_ns, captured_ns) in images:
            self._ready.append(Frame(self._index, image, captured_ns, time_ns=time_ns))
            self._index += 1

    def _skip(self, reason: str) -> None:
        """Report a damaged frame."""
        self._deliver(self._converter.flush())
        detail = f"frame {self._index} of {self._name} is skipped: {reason}"
        self._ready.append(Event("corrupt", self._index, now_ns(), detail))
        self._index += 1
        self._corrupt += 1
        if self._index == self._corrupt == MAX_CORRUPT:
            msg = f"none of the first {MAX_CORRUPT} frames of {self._name} can be used: {reason}; {converted(self._name)}"
            raise SourceError(msg)


class _End:
    """Compares the end of a file with the end that its header states.

    Args:
        stream: The video stream.
        container: The opened file.
    """

    def __init__(self, stream: VideoStream, container: InputContainer) -> None:
        self._time_base = stream.time_base or Fraction(1, 1000)
        self._period_s = float(1 / (stream.average_rate or Fraction(DEFAULT_RATE_HZ)))
        self._start_s = float((stream.start_time or 0) * self._time_base)
        self._declared_s = _declared_s(stream, container)
        self._end_s = 0.0

    def passed(self, packet: Packet[VideoStream]) -> None:
        """Record that a packet was read."""
        if packet.pts is not None:
            end_s = float((packet.pts + (packet.duration or 0)) * self._time_base) - self._start_s
            self._end_s = max(self._end_s, end_s)

    def missing(self) -> str:
        """Describe where the file ended if it ended early. The result is empty if it did not."""
        if self._declared_s - self._end_s <= max(2 * self._period_s, MISSING_SHARE * self._declared_s):
            return ""
        return f", at {self._end_s:.2f} s of {self._declared_s:.2f} s"


def _declared_s(stream: VideoStream, container: InputContainer) -> float:
    """Return the duration in seconds that the header states, or 0 if it states none."""
    if container.format.flags & Flags.ts_discont.value:  # FFmpeg estimates the duration from the last packets.
        return 0.0
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    stated = next((value for key, value in stream.metadata.items() if key.upper().startswith("DURATION")), "")
    with suppress(ValueError):
        hours, minutes, seconds = (float(part) for part in stated.split(":"))
        return 3600 * hours + 60 * minutes + seconds
    only = len(container.streams) == 1 and container.format.name in ("matroska,webm", "flv")
    return (container.duration or 0) / av.time_base if only else 0.0


def _rate_of(stream: VideoStream) -> float | None:
    """Return the frame rate of a stream in frames per second, or None if the file states no plausible rate."""
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return next((float(rate) for rate in rates if rate and 0 < rate <= MAX_RATE_HZ), None)


def open_source(spec: str) -> VideoFile:
    """Open a video file."""
    return VideoFile.open(Path(spec))

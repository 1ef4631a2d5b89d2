"""Source for video files. PyAV's FFmpeg decodes every frame, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from orilla.devices.errors import DataError, SourceError
from orilla.devices.names import readable
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.jpeg_damage import is_damaged
from orilla.runtime.sources.animated_webp import AnimatedWebp
from orilla.runtime.sources.av_frames import SQUARE, FrameConverter, reason_of
from orilla.runtime.sources.capture import MAX_CORRUPT
from orilla.runtime.sources.frame_times import FrameTimes, Holes
from orilla.runtime.sources.missing_frames import MissingFrames, StatedEnd
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.source import READY_BUFFERS, Source, is_animated_webp, now_ns
from orilla.runtime.sources.video_container import (
    CLOCK_RESTARTS,
    DECODING_ORDER,
    MJPEG,
    NO_TIMES,
    PLAYLIST,
    converted,
    cut_box,
    encrypted,
    open_container,
    video_stream,
)

WEBP_HEAD_BYTES = 32
"""Number of bytes that are read to recognise an animated WebP image."""

MAX_UNREADABLE = 20
"""Reading ends after this number of consecutive packets that cannot be read. The file then counts as truncated."""

DEFAULT_RATE_HZ, MAX_RATE_HZ = 25.0, 1000.0
"""Frame rate that is assumed for frames without presentation times if the file states no plausible rate, and the
largest plausible rate."""


class VideoFile:
    """Delivers the frames of one file.

    The capture time is the time of decoding. `time_ns` is the time since the first frame, computed from the
    presentation times. A damaged frame is skipped and reported. A file that ends early delivers its frames, and then an
    event.

    Args:
        container: The opened file.
        name: Name of the file in messages.
        path: The file, or None if it has a URL.
        received: The bytes that the container reads, or None if FFmpeg reads them itself.

    Raises:
        SourceError: The file contains no video, or it cannot be decoded.
    """

    live = False

    def __init__(
        self,
        container: InputContainer,
        name: str,
        path: Path | None = None,
        received: ReceivedBytes | None = None,
    ) -> None:
        self._container, self._name, self._path, self._received = container, name, path, received
        self._stream = video_stream(container, name)
        self.rate_hz = _rate_of(self._stream, container)
        period_s = 1 / (self.rate_hz or DEFAULT_RATE_HZ)
        self._restarts = bool(container.format.flags & CLOCK_RESTARTS)
        time_base = self._stream.time_base or Fraction(1, 1000)
        self._holes = Holes(name, 1e9 * period_s) if container.format.name == PLAYLIST else None
        max_gap_ns = 1000 * (container.duration or 0) if self._holes is not None else None
        period_ns = round(1e9 * period_s)
        self._times = FrameTimes(time_base, period_ns, restarts=self._restarts, max_gap_ns=max_gap_ns)
        self._timed = not container.format.flags & NO_TIMES
        self._presented = container.format.name not in DECODING_ORDER
        """False if frames have only decoding times."""
        self._is_mjpeg = self._stream.codec_context.name == MJPEG
        self._missing = MissingFrames(self._stream, container)
        self._end = StatedEnd(self._stream, container, period_s)
        self._packets: Iterator[Packet[VideoStream]] | None = container.demux(self._stream)
        self._converter: FrameConverter[tuple[int, int]] = FrameConverter(BufferPool(READY_BUFFERS))
        self._ready: deque[Frame | Event] = deque()
        self._aspect: Fraction | None = None
        self._damaged: set[int] = set()
        self._index = self._skipped = self._unreadable = 0
        self._reason = "it is damaged"

    @classmethod
    def open(cls, path: Path) -> VideoFile:
        """Open a file. Raise `SourceError` if it is not a video."""
        container = open_container(path)
        try:
            return cls(container, readable(str(path)), path)
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
        if self._received is not None:
            self._received.close()

    def _advance(self, packets: Iterator[Packet[VideoStream]]) -> None:
        """Read and decode one packet."""
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            # The file may be readable again after a damaged part.
            self._reason, self._unreadable = f"it cannot be read ({reason_of(error)})", self._unreadable + 1
            packet = None
            if self._unreadable < MAX_UNREADABLE:
                self._packets = self._container.demux(self._stream)
                return
        if packet is None:
            self._finish()
        elif packet.size:  # To FFmpeg, an empty packet would mean the end of the stream.
            self._unreadable = 0
            self._end.passed(packet)
            self._missing.sent(packet)
            if not self._index and packet.has_sidedata("encryption_info"):
                raise encrypted(self._name)
            # In transport streams, complete frames are also marked as damaged where two recordings are joined.
            damaged = (packet.is_corrupt and not self._restarts) or (self._is_mjpeg and is_damaged(bytes(packet)))
            if damaged and packet.pts is not None:
                self._damaged.add(packet.pts)
            self._decode(packet)

    def _decode(self, packet: Packet[VideoStream] | None) -> None:
        """Decode a packet.

        None marks the end of the stream: the frames that the decoder still buffers are then returned.
        """
        try:
            frames = self._stream.decode(packet)
        except av.EOFError:
            return
        except av.FFmpegError as error:
            self._reason = f"it cannot be decoded ({reason_of(error)})"
            if not self._missing.active:
                if packet is not None and (self._stream.codec.intra_only or not self._index):
                    self._time_of(packet.pts)
                self._skip(self._reason)
            return
        for frame in frames:
            self._skip_missing(self._missing.before(frame))
            self._take(frame)

    def _take(self, frame: VideoFrame) -> None:
        """Convert a frame, or skip it if it is damaged."""
        pts = frame.dts if frame.pts is None or not self._presented else frame.pts
        times = self._time_of(pts), now_ns()
        if self._holes is not None:
            self._note_hole(*self._holes.before(times[0]))
        if frame.is_corrupt or frame.pts in self._damaged:
            self._skip("it is damaged")
            return
        try:
            if frame.key_frame or self._aspect is None:
                self._aspect = self._stream.sample_aspect_ratio or SQUARE
            self._deliver(self._converter.push(frame, times, self._aspect))
        except DataError as error:
            self._skip(str(error))

    def _time_of(self, pts: int | None) -> int:
        return self._times.of(pts if self._timed else None)

    def _deliver(self, images: Sequence[tuple[Image, tuple[int, int]]]) -> None:
        for image, (time_ns, captured_ns) in images:
            self._ready.append(Frame(self._index, image, captured_ns, time_ns=time_ns))
            self._index += 1

    def _skip_missing(self, missing: Sequence[int]) -> None:
        """Report frames that the decoder dropped.

        A file that was cut from a longer one may begin with frames that cannot be decoded.
        """
        first = self._index == 0
        for pts in missing:
            self._time_of(pts)
            if first and len(missing) > 1:
                self._index += 1
            else:
                self._skip(self._reason)
        if first and len(missing) > 1:
            detail = f"the first {len(missing)} frames of {self._name} are skipped: they cannot be decoded"
            self._ready.append(Event("corrupt", 0, now_ns(), detail))
            self._skipped += len(missing)

    def _note_hole(self, count: int, detail: str) -> None:
        """Report frames that the server did not send."""
        if count:
            self._deliver(self._converter.flush())
            self._ready.append(Event("corrupt", self._index, now_ns(), detail))
            self._index += count

    def _skip(self, reason: str) -> None:
        """Report a damaged frame."""
        self._deliver(self._converter.flush())
        detail = f"frame {self._index} of {self._name} is skipped: {reason}"
        self._ready.append(Event("corrupt", self._index, now_ns(), detail))
        self._index += 1
        self._skipped += 1
        if self._index == self._skipped == MAX_CORRUPT:
            msg = (
                f"none of the first {MAX_CORRUPT} frames of {self._name} can be used: {reason}; {converted(self._name)}"
            )
            raise SourceError(msg)

    def _finish(self) -> None:
        """Deliver the last frames. Report if the file ended early."""
        self._packets = None
        self._decode(None)
        self._skip_missing(self._missing.rest())
        self._deliver(self._converter.flush())
        if not self._index:
            reason = f": {self._reason}" if self._unreadable else ""
            msg = f"no frames in {self._name}: it is empty, or damaged{reason}"
            raise SourceError(msg)
        missing = self._end.missing()
        if not missing and self._path is not None and cut_box(self._path) is not None:
            missing = "its last part is incomplete"
        if not missing and self._received is not None and self._received.error is not None:
            missing = "the connection was lost"
        if missing or self._unreadable >= MAX_UNREADABLE:
            detail = f"{self._name} ends early, after frame {self._index - 1}"
            detail += f" ({missing or self._reason}): the rest is missing, so copy or download it again"
            self._ready.append(Event("truncated", self._index, now_ns(), detail))


def _rate_of(stream: VideoStream, container: InputContainer) -> float | None:
    """Return the frame rate of a stream in frames per second, or None if the file states no plausible rate.

    For a stream without a container, this is the rate that the coded video itself states, or 25.
    """
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if container.format.flags & NO_TIMES:
        rates.insert(0, stream.guessed_rate)
    return next((float(rate) for rate in rates if rate and 0 < rate <= MAX_RATE_HZ), None)


def open_source(spec: str) -> Source:
    """Open a video file or an animation."""
    path = Path(spec)
    with path.open("rb") as file:
        if is_animated_webp(file.read(WEBP_HEAD_BYTES)):
            return AnimatedWebp.open(path)
    return VideoFile.open(path)

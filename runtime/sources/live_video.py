"""Source for live video that PyAV's FFmpeg reads: RTSP, MPEG-TS, raw H.264 and others."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from orilla.devices.errors import DataError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.jpeg_damage import is_damaged
from orilla.runtime.sources.av_frames import FrameConverter, reason_of
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.frame_times import Holes
from orilla.runtime.sources.keyframe_parts import KeyframeParts
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.source import READY_BUFFERS, SLICE_S, now_ns
from orilla.runtime.sources.timestamps import PresentationClock
from orilla.runtime.sources.video_container import MJPEG, PLAYLIST, video_stream

MAX_SKIP_S, NEW_SHARE = 2.0, 0.5
"""Frames that the server queued while the stream was opened arrive all at once and are skipped. A frame counts as new
if it takes at least `NEW_SHARE` of a period to arrive. Skipping ends after `MAX_SKIP_S` in any case."""

MAX_KEYFRAME_S = 30.0
"""Number of seconds to wait for the first frame that can be decoded. Some cameras send keyframes rarely."""

DEFAULT_RATE_HZ, MAX_RATE_HZ = 30.0, 1000.0
"""Assumed frame rate of a stream that does not state its rate, and the largest plausible rate."""

LATE_FORMATS = ("rtsp", "rtp", "sdp")
"""Formats whose demuxer detects the end of a frame of `LATE_CODECS` only when the next frame begins."""

LATE_CODECS = ("h264", "hevc", "vvc", "mpeg4", "mpeg1video", "mpeg2video", "h263")
"""Codecs that do not mark the end of a frame. FFmpeg returns a packet only when it has received the beginning of the
next one. The first byte of a frame has therefore arrived when the previous packet is returned."""

MAX_HELD = 64
"""Maximum number of frames whose arrival times are stored while the decoder holds the frames back."""


class _Arrival(NamedTuple):
    """Arrival of the first byte of a frame."""

    arrived_ns: int
    waited_ns: int
    """Time that was spent waiting for the frame, in nanoseconds."""
    damaged: bool


class LiveVideo:
    """Delivers the frames of one connection.

    The capture time is the presentation time if it agrees with the clock. Otherwise, it is the time at which the first
    byte of the frame arrived. Damaged frames are reported and skipped.

    Args:
        container: The opened stream.
        name: Name of the camera in messages.
        read_s: Read timeout of the connection in seconds. It is used only in messages.
        received: The bytes that the container reads, or None if FFmpeg reads from the network itself.
        first: Packets that have already been read.

    Raises:
        SourceError: The stream contains no video, or it cannot be decoded.
    """

    live = True

    def __init__(
        self,
        container: InputContainer,
        name: str,
        read_s: float,
        received: ReceivedBytes | None = None,
        first: Sequence[Packet[VideoStream]] = (),
    ) -> None:
        self._container, self._name, self._read_s, self._received = container, name, read_s, received
        self._stream = video_stream(container, name)
        codec = self._stream.codec_context
        codec.thread_count = 1  # Each additional thread would delay all frames by one period.
        self._is_mjpeg = codec.name == MJPEG
        self._is_late = container.format.name in LATE_FORMATS and codec.name in LATE_CODECS
        rates = (self._stream.average_rate, self._stream.guessed_rate)
        self.rate_hz = next((float(rate) for rate in rates if rate and 0 < rate <= MAX_RATE_HZ), None)
        period_ns = 1e9 / (self.rate_hz or DEFAULT_RATE_HZ)
        self._holes = Holes(name, period_ns) if container.format.name == PLAYLIST else None
        self._packets: Iterator[Packet[VideoStream]] = chain(first, container.demux(self._stream))
        self._converter: FrameConverter[tuple[int | None, _Arrival]] = FrameConverter(BufferPool(READY_BUFFERS))
        self._keyframes = KeyframeParts()
        self._clock, self._corrupt = PresentationClock(), CorruptFrames(name)
        self._arrivals: dict[int | None, _Arrival] = {}
        """Arrival of each packet, by its presentation time."""
        self._ready: deque[Frame | Event] = deque()
        self._index = 0
        self._began_ns = now_ns()
        self._returned = self._began_ns, 0
        """Time at which the last packet was returned, and the time that was spent waiting for it, in nanoseconds."""
        self._queued = True
        """True until all frames that were queued while the stream was opened have arrived."""
        self._awaits_keyframe = False
        """True while the frames depend on a keyframe that was incomplete when the stream was opened."""
        self._reason = ""

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event."""
        started_ns = now_ns()
        while not self._ready:
            self._advance()
            if not self._index and now_ns() - self._began_ns > 1e9 * MAX_KEYFRAME_S:
                reason = f": {self._reason}" if self._reason else ""
                msg = f"{self._name} sent no frame that can be decoded in {MAX_KEYFRAME_S:g} s{reason}"
                raise SourceError(msg)
            if not self._ready and now_ns() - started_ns > 1e9 * SLICE_S:
                return Event("waiting", self._index, now_ns(), "no frame can be decoded yet")
        return self._ready.popleft()

    def close(self) -> None:
        """Release the source."""
        self._container.close()
        if self._received is not None:
            self._received.close()

    def _advance(self) -> None:
        """Receive and decode one packet."""
        asked_ns = now_ns()
        packet = self._next_packet()
        returned_ns = now_ns()
        self._note_arrival(packet, returned_ns, returned_ns - asked_ns)
        waited_s = (returned_ns - asked_ns) / 1e9
        opened_s = (returned_ns - self._began_ns) / 1e9
        if waited_s >= NEW_SHARE / (self.rate_hz or DEFAULT_RATE_HZ) or opened_s >= MAX_SKIP_S:
            self._queued = False
        for whole in self._keyframes.push(packet) if self._is_late else [packet]:
            self._decode(whole)

    def _decode(self, packet: Packet[VideoStream]) -> None:
        try:
            frames = self._stream.decode(packet)
        except av.FFmpegError as error:
            self._skip(f"it cannot be decoded ({reason_of(error)})")
            return
        for frame in frames:
            if not self._queued:
                self._convert(frame)

    def _next_packet(self) -> Packet[VideoStream]:
        try:
            packet = next(self._packets, None)
            # An empty packet marks the end of the stream.
            if packet is not None and packet.size:
                return packet
            reason = "ended"
        except av.ExitError:
            reason = f"sent nothing for {self._read_s:g} s"
        except av.FFmpegError as error:
            reason = f"ended: {reason_of(error)}"
        error_of_socket = self._received.error if self._received is not None else None
        if isinstance(error_of_socket, TimeoutError):
            reason = f"sent nothing for {self._read_s:g} s"
        elif error_of_socket is not None:
            reason = f"ended: {reason_of(error_of_socket)}"
        msg = f"{self._name} {reason}"
        raise SourceError(msg)

    def _note_arrival(self, packet: Packet[VideoStream], returned_ns: int, waited_ns: int) -> None:
        arrived_ns, arrived_wait_ns = self._returned if self._is_late else (returned_ns, waited_ns)
        if self._received is not None and packet.pos is not None:
            arrived_ns = self._received.arrived_ns(packet.pos) or arrived_ns
        self._returned = returned_ns, waited_ns
        if len(self._arrivals) >= MAX_HELD:
            del self._arrivals[next(iter(self._arrivals))]
        first = self._arrivals.get(packet.pts, _Arrival(arrived_ns, arrived_wait_ns, damaged=False))
        # The first packets after a missing part of a playlist are complete, but marked as damaged.
        is_marked = packet.is_corrupt and self._holes is None
        damaged = is_marked or (self._is_mjpeg and is_damaged(bytes(packet)))
        self._arrivals[packet.pts] = first._replace(damaged=first.damaged or damaged)

    def _convert(self, frame: VideoFrame) -> None:
        arrival = self._arrivals.pop(frame.pts, _Arrival(*self._returned, damaged=False))
        damaged = arrival.damaged or (frame.is_corrupt and self._holes is None)
        if frame.key_frame:
            self._awaits_keyframe = damaged and not self._index
        if damaged or self._awaits_keyframe:
            self._skip("it is damaged")
            return
        try:
            converted = self._converter.push(frame, (frame.pts, arrival), self._stream.sample_aspect_ratio)
        except DataError as error:
            self._skip(str(error))
            return
        for image, (pts, first) in converted:
            base = self._stream.time_base
            presented_ms = None if pts is None or base is None else 1e3 * float(pts * base)
            captured_ns = self._clock.captured_ns(presented_ms, first.arrived_ns, first.waited_ns)
            if self._holes is not None and presented_ms is not None:
                self._note_hole(*self._holes.before(1e6 * presented_ms))
            if notice := self._clock.notice():
                self._ready.append(Event("time", self._index, now_ns(), f"{self._name}: {notice}"))
            self._ready.append(self._corrupt.check(self._index, image, captured_ns))
            self._index += 1

    def _note_hole(self, count: int, detail: str) -> None:
        """Report frames that the server did not send."""
        if count:
            self._ready.append(Event("corrupt", self._index, now_ns(), detail))
            self._index += count

    def _skip(self, reason: str) -> None:
        """Report a damaged frame.

        Before the first good frame, damage is normal, because the connection may begin in the middle of a frame.
        """
        if not self._index:
            self._reason = reason
            return
        self._ready.append(self._corrupt.check(self._index, None, now_ns(), reason))
        self._index += 1

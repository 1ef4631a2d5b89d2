"""Encode all frames and keep the last seconds in memory, because a later trigger may need them for a clip."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.video_files import KEY_FRAME_S, Format

if TYPE_CHECKING:
    from av.video.stream import VideoStream


class Coded(NamedTuple):
    """A frame as the codec encoded it, and the line that describes its answer."""

    data: bytes
    is_key: bool
    """True for a keyframe. A player can start only at a keyframe."""
    pts: int
    """Time in the video, in the encoder's unit of time."""
    time_s: float
    """Time in the source, in seconds."""
    shown_s: float
    """Time in a video of the whole loop, in seconds."""
    line: bytes
    """JSON document of the tick, without a line break."""

    @property
    def size(self) -> int:
        """Return the number of bytes in memory."""
        return len(self.data) + len(self.line)


class ClipEncoder:
    """Encodes images of one size.

    Args:
        kind: Format of the clips.
        rate_hz: Frame rate of the source.
        crf: Constant rate factor of H.264.
        size_wh: Width and height of the first image, in pixels.

    Raises:
        OutputError: The codec cannot be opened.
    """

    def __init__(self, kind: Format, rate_hz: float, crf: int, size_wh: tuple[int, int]) -> None:
        import av

        rate = Fraction(rate_hz).limit_denominator(1001)
        self.size_wh = size_wh
        """Width and height of the images for which the encoder was opened, in pixels."""
        self.time_base = kind.time_base or 1 / rate
        """Unit of the times in the video, in seconds."""
        options = dict(kind.codec_options)
        if kind.codec == "libx264":
            options |= {"crf": str(crf), "forced-idr": "1"}
        try:
            # The packets go into memory, so the container of the encoder writes nothing.
            self._container = av.open(os.devnull, "w", format="null")
            stream = self._container.add_stream(kind.codec, rate=rate, options=options)
            assert isinstance(stream, av.VideoStream)
            # The codecs store colour with half the resolution, so width and height must be even.
            stream.width, stream.height = (max(2, side - side % 2) for side in size_wh)
            stream.pix_fmt = kind.pixels
            stream.codec_context.time_base = self.time_base
            stream.codec_context.gop_size = max(1, round(KEY_FRAME_S * rate))
            stream.codec_context.thread_count = 1  # Leave the other cores to inference.
            if kind.codec == "libx264":  # The files need the parameters of the codec in their headers.
                stream.codec_context.flags |= int(av.codec.context.Flags.global_header)
            self._container.start_encoding()
        except (OSError, ValueError, av.FFmpegError) as error:
            msg = f"cannot encode clips of {size_wh[0]}x{size_wh[1]} pixels: {error}"
            raise OutputError(msg) from error
        self.stream: VideoStream = stream
        """Template for the streams of the clips."""
        self._waiting: deque[tuple[float, float, bytes]] = deque()
        self._last_pts, self._key_s = -1, -KEY_FRAME_S

    def encode(self, image: Any, time_s: float, shown_s: float, line: bytes) -> list[Coded]:
        """Encode one image `[H,W,3]` uint8 BGR. The arguments are those of `Coded`.

        Raises:
            OutputError: The image cannot be encoded.
        """
        import av

        size_wh = (self.stream.width, self.stream.height)
        if (image.shape[1], image.shape[0]) != size_wh:
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        # Two images cannot have the same time.
        self._last_pts = max(self._last_pts + 1, round(shown_s / self.time_base))
        frame.pts, frame.time_base = self._last_pts, self.time_base
        if shown_s - self._key_s >= KEY_FRAME_S:
            frame.pict_type, self._key_s = av.video.frame.PictureType.I, shown_s
        self._waiting.append((time_s, shown_s, line))
        try:
            packets = self.stream.encode(frame)
        except (OSError, ValueError, av.FFmpegError) as error:
            msg = f"cannot encode a frame for a clip: {error}"
            raise OutputError(msg) from error
        return [
            Coded(bytes(packet), packet.is_keyframe, packet.pts or 0, *self._waiting.popleft()) for packet in packets
        ]


class Ring:
    """The encoded frames of the last seconds. The first one is a keyframe.

    Args:
        before_s: Time in seconds that the frames must cover.
        limit: Maximum number of bytes. If the frames need more, they cover a shorter time.
        on_limit: Function that is called once, with the time in seconds that the limit allows.
    """

    def __init__(self, before_s: float, limit: int, on_limit: Callable[[float], None]) -> None:
        self._before_s, self._limit, self._on_limit = before_s, limit, on_limit
        self._frames: deque[Coded] = deque()
        self._is_limited = False
        self.size = 0
        """Number of bytes in memory."""

    def add(self, coded: Coded) -> None:
        """Add the newest frame, and remove frames that are no longer needed."""
        if not self._frames and not coded.is_key:
            return
        self._frames.append(coded)
        self.size += coded.size
        while (later := self._second_start()) is not None and later.time_s <= coded.time_s - self._before_s:
            self._remove_first()
        while self.size > self._limit and self._frames:
            self._remove_first()
            if not self._is_limited:
                self._is_limited = True
                self._on_limit(coded.time_s - self._frames[0].time_s if self._frames else 0.0)

    def since(self, time_s: float) -> list[Coded]:
        """Return the frames from a given time on. The first one is the last keyframe at or before this time."""
        frames = list(self._frames)
        starts = [place for place, coded in enumerate(frames) if coded.is_key and coded.time_s <= time_s]
        return frames[starts[-1] if starts else 0 :]

    def clear(self) -> None:
        """Remove all frames."""
        self._frames.clear()
        self.size = 0

    def _second_start(self) -> Coded | None:
        return next((coded for place, coded in enumerate(self._frames) if place and coded.is_key), None)

    def _remove_first(self) -> None:
        """Remove the frames before the second keyframe, or all frames if there is no second keyframe."""
        self.size -= self._frames.popleft().size
        while self._frames and not self._frames[0].is_key:
            self.size -= self._frames.popleft().size

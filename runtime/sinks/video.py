"""Sink that draws the results on the frames and writes them to video files with PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import cv2

from orilla.devices.errors import OutputError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.segments import FileOptions, Segments, descriptor_of
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.video_files import (
    KEY_FRAME_S,
    Format,
    VideoClock,
    WholeFile,
    check_crf,
    format_of,
    output_error,
    report_left,
)

if TYPE_CHECKING:
    import av
    from av.container import OutputContainer
    from av.video.stream import VideoStream

NEEDS_TARGET = True
PER_SOURCE = True


class Options(FileOptions, frozen=True, kw_only=True):
    """The options of the sink."""

    crf: int = 23
    """Constant rate factor of H.264: 0 is lossless, and larger numbers result in lower quality and smaller files. The
    usual range is 18 to 28."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.append:
            msg = "append is not possible for a video: use overwrite, or a name with a date"
            raise ValueError(msg)
        check_crf(self.crf)


class Video(Sink):
    """Writes video files. The first image of a file sets the size, and later images are scaled to it.

    The video plays at the speed of the source. An image is shown until the next answer, but not longer than
    `MAX_STILL_S`.
    """

    def __init__(self, target: str, options: Options, setup: Setup) -> None:
        self._format, self._options = format_of("video", target), options
        self._clock = VideoClock(setup)
        self._segments = Segments(target, options)
        report_left(self._segments, setup)
        self._file: _VideoFile | None = self._next_file()

    def write(self, tick: Tick) -> bool:
        """Write the annotated frame of one tick."""
        image = tick.draw()
        if self._file is not None and self._segments.is_full(self._file.size):
            self.close()
        if self._file is None:
            self._file = self._next_file()
        self._file.write(image, self._clock.advance(tick))
        return True

    def close(self) -> None:
        """Finish the file."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _next_file(self) -> _VideoFile:
        path, file = self._segments.next()
        if not path.is_file() or descriptor_of(path) is not None:
            file.close()
            msg = f"cannot write {path}: a video must be written to a regular file"
            raise OutputError(msg)
        return _VideoFile(path, file, self._format, self._clock.rate_hz, self._options.crf)


class _VideoFile:
    """One video file. The encoder is opened with the first image."""

    def __init__(self, path: Path, file: BinaryIO, kind: Format, rate_hz: float, crf: int) -> None:
        self._path, self._file, self._format = path, WholeFile(file), kind
        self._rate = Fraction(rate_hz).limit_denominator(1001)
        self._time_base = kind.time_base or 1 / self._rate
        self._codec_options = kind.codec_options | ({"crf": str(crf)} if kind.codec == "libx264" else {})
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._began_s: float | None = None
        self._last_pts = -1

    @property
    def size(self) -> int:
        """Return the number of bytes written so far."""
        return self._file.tell()

    def write(self, image: Any, time_s: float) -> None:
        """Encode one image `[H,W,3]` uint8 BGR, at a time in seconds.

        Raises:
            OutputError: The disk is full, or the image cannot be encoded.
        """
        import av

        if self._stream is None:
            self._open(image.shape[1], image.shape[0])
        assert self._stream is not None
        if self._began_s is None:
            self._began_s = time_s
        size_wh = (self._stream.width, self._stream.height)
        if (image.shape[1], image.shape[0]) != size_wh:
            image = cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA)
        frame = av.VideoFrame.from_ndarray(image, format="bgr24")
        # Two images cannot have the same time.
        self._last_pts = max(self._last_pts + 1, round((time_s - self._began_s) / self._time_base))
        frame.pts, frame.time_base = self._last_pts, self._time_base
        self._mux(frame)

    def close(self) -> None:
        """Finish the file. A file without an image is deleted.

        Raises:
            OutputError: The end of the file cannot be written.
        """
        import av

        try:
            if self._container is None:
                self._path.unlink(missing_ok=True)
                return
            self._mux(None)
            self._container.close()
        except (OSError, av.FFmpegError) as error:
            raise output_error(self._path, error) from error
        finally:
            self._file.close()

    def _open(self, width: int, height: int) -> None:
        import av

        try:
            options = {**self._format.container_options, "flush_packets": "1"}
            self._container = av.open(self._file, "w", format=self._format.name, options=options)
            stream = self._container.add_stream(self._format.codec, rate=self._rate, options=self._codec_options)
            assert isinstance(stream, av.VideoStream)
        except (OSError, ValueError, av.FFmpegError) as error:
            raise output_error(self._path, error) from error
        # The codecs store colour with half the resolution, so width and height must be even.
        stream.width, stream.height = max(2, width - width % 2), max(2, height - height % 2)
        stream.pix_fmt = self._format.pixels
        stream.codec_context.time_base = self._time_base
        stream.codec_context.gop_size = max(1, round(KEY_FRAME_S * self._rate))
        stream.codec_context.thread_count = 1  # Leave the other cores to inference.
        self._stream = stream

    def _mux(self, frame: av.VideoFrame | None) -> None:
        """Encode a frame and write its packets. If it is None, finish the encoding."""
        import av

        assert self._container is not None
        assert self._stream is not None
        self._file.mark()
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, ValueError, av.FFmpegError) as error:
            raise output_error(self._path, error) from error


def open_sink(target: str, options: Options, setup: Setup) -> Video:
    """Open the sink, which writes the video files named by `target`."""
    return Video(target, options, setup)

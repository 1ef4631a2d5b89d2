"""Sink that draws the results on the frames and writes them to video files with PyAV."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import cv2

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Tick, media_time_ns
from orilla.runtime.sinks.segments import FileOptions, Segments, descriptor_of
from orilla.runtime.sinks.sink import Setup, Sink

if TYPE_CHECKING:
    import av
    from av.container import OutputContainer
    from av.video.stream import VideoStream

NEEDS_TARGET = True
PER_SOURCE = True

DEFAULT_RATE_HZ = 25.0
"""Frame rate of the video if the source has none."""

MAX_STILL_S = 5.0
"""Maximum time in seconds for which an image is shown. If there is a longer gap between two answers, the video shortens
it to this time."""

KEY_FRAME_S = 1.0
"""Interval in seconds between two keyframes. A player can start only at a keyframe."""

FRAGMENT_MS = 500
"""Maximum duration of a fragment in milliseconds. After a power failure, a video lacks its last fragment."""

MFRO_SIZE = 16
"""Size in bytes of the box that ends a fragmented MP4 file. Source: ISO/IEC 14496-12, section 8.8.11."""

LOSSLESS_CRF, WORST_CRF = 0, 51
"""Range of x264's constant rate factor."""


class Format(NamedTuple):
    """A container format, the codec of its video stream, and the options of both."""

    name: str
    """Name of the container in FFmpeg."""
    codec: str
    pixels: str
    time_base: Fraction | None
    """Unit of the times in the file, in seconds. If None, all frames have the same duration."""
    container_options: dict[str, str]
    codec_options: dict[str, str]


X264 = {"preset": "ultrafast", "tune": "zerolatency"}
VP8 = {"deadline": "realtime", "cpu-used": "8", "b": "2M"}

FORMATS = {
    # Each fragment is complete in itself, so the file is readable even if a power failure prevents its completion.
    ".mp4": Format(
        "mp4",
        "libx264",
        "yuv420p",
        Fraction(1, 90_000),
        {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": str(FRAGMENT_MS * 1000)},
        X264,
    ),
    ".mkv": Format("matroska", "libx264", "yuv420p", Fraction(1, 1000), {"cluster_time_limit": str(FRAGMENT_MS)}, X264),
    ".webm": Format("webm", "libvpx", "yuv420p", Fraction(1, 1000), {"cluster_time_limit": str(FRAGMENT_MS)}, VP8),
    ".avi": Format("avi", "mjpeg", "yuvj420p", None, {}, {"q:v": "4"}),
}
"""Formats by the suffix of the file. Browsers play `.mp4` and `.webm`."""


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
        if not LOSSLESS_CRF <= self.crf <= WORST_CRF:
            msg = f"crf={self.crf}: expected a number from {LOSSLESS_CRF} to {WORST_CRF}"
            raise ValueError(msg)


class Video(Sink):
    """Writes video files. The first image of a file sets the size, and later images are scaled to it.

    The video plays at the speed of the source. An image is shown until the next answer, but not longer than
    `MAX_STILL_S`.
    """

    def __init__(self, target: str, options: Options, setup: Setup) -> None:
        self._target, self._options, self._setup = target, options, setup
        self._format = FORMATS[Path(target).suffix.lower()]
        self._rate_hz = setup.rate_hz or DEFAULT_RATE_HZ
        self._segments = Segments(target, options)
        _report_left(self._segments, setup)
        self._count = 0
        self._shown_s = self._previous_s = 0.0
        self._file: _VideoFile | None = self._next_file()

    def write(self, tick: Tick) -> bool:
        """Write the annotated frame of one tick."""
        image = tick.draw()
        if self._file is not None and self._segments.is_full(self._file.size):
            self.close()
        if self._file is None:
            self._file = self._next_file()
        self._file.write(image, self._advance(tick))
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
        return _VideoFile(path, file, self._format, self._rate_hz, self._options.crf)

    def _advance(self, tick: Tick) -> float:
        """Return the time of the tick in the video, in seconds."""
        if self._setup.live:
            source_s = tick.captured_ns / 1e9
        elif self._setup.rate_hz is not None:
            source_s = (media_time_ns(tick.frame, self._rate_hz) or 0) / 1e9
        else:
            source_s = self._count / self._rate_hz
        if self._count:
            self._shown_s += min(max(0.0, source_s - self._previous_s), MAX_STILL_S)
        self._previous_s = source_s
        self._count += 1
        return self._shown_s


def _report_left(segments: Segments, setup: Setup) -> None:
    """Report a video that a killed process left unfinished. Remove it if it contains no image."""
    left = segments.left()
    if left is None:
        return
    if not _has_image(left):
        left.unlink()
        setup.report(f"removed the video {left} without an image, left behind by a killed process")
    elif not _is_finished(left):
        setup.report(f"{left} was left by a killed process: it can be played, but may lack its last second")


def _has_image(path: Path) -> bool:
    import av

    try:
        with av.open(path) as container:
            return any(packet.size for packet in container.demux(video=0))
    except (OSError, IndexError, av.FFmpegError):
        return False


def _is_finished(path: Path) -> bool:
    """Return True if the process that wrote a video also finished it."""
    import av

    if path.suffix.lower() == ".mp4":
        with path.open("rb") as file:
            file.seek(-min(MFRO_SIZE, path.stat().st_size), os.SEEK_END)
            return file.read()[4:8] == b"mfro"
    with av.open(path) as container:
        return container.duration is not None


class _VideoFile:
    """One video file. The encoder is opened with the first image."""

    def __init__(self, path: Path, file: BinaryIO, kind: Format, rate_hz: float, crf: int) -> None:
        self._path, self._file, self._format = path, file, kind
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
            raise self._output_error(error) from error
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
            raise self._output_error(error) from error
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
        try:
            self._container.mux(self._stream.encode(frame))
        except (OSError, ValueError, av.FFmpegError) as error:
            raise self._output_error(error) from error

    def _output_error(self, error: Exception) -> OutputError:
        reason = getattr(error, "strerror", None) or str(error)
        return OutputError(f"cannot write {self._path}: {reason}")


def open_sink(target: str, options: Options, setup: Setup) -> Video:
    """Open the sink, which writes the video files named by `target`."""
    if Path(target).suffix.lower() not in FORMATS:
        msg = f"sink `video:{target}`: the name of the file must end in {', '.join(FORMATS)}"
        raise ConfigError(msg)
    return Video(target, options, setup)

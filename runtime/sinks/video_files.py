"""Formats and times of video files, and the check for unfinished files. The sinks `video` and `clip` use them."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Tick, media_time_ns
from orilla.runtime.sinks.segments import Segments
from orilla.runtime.sinks.sink import Setup

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
"""Size in bytes of the last box of a fragmented MP4 file. Source: ISO/IEC 14496-12, section 8.8.11."""

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


class VideoClock:
    """Computes the times of ticks in a video that plays at the speed of the source.

    Args:
        setup: Description of the loop.
    """

    def __init__(self, setup: Setup) -> None:
        self.rate_hz = setup.rate_hz or DEFAULT_RATE_HZ
        """Frame rate of the source in frames per second, or the default rate if the source has none."""
        self.source_s = 0.0
        """Time of the newest tick in the source, in seconds. For a live source, it is the time of the monotonic
        clock."""
        self._setup, self._count, self._shown_s = setup, 0, 0.0

    def advance(self, tick: Tick) -> float:
        """Return the time of the next tick in the video, in seconds. It is 0 for the first one."""
        previous_s = self.source_s
        if self._setup.live:
            self.source_s = tick.captured_ns / 1e9
        elif self._setup.rate_hz is not None:
            self.source_s = (media_time_ns(tick.frame, self.rate_hz) or 0) / 1e9
        else:
            self.source_s = self._count / self.rate_hz
        if self._count:
            self._shown_s += min(max(0.0, self.source_s - previous_s), MAX_STILL_S)
        self._count += 1
        return self._shown_s


def format_of(sink: str, target: str) -> Format:
    """Return the format of a video file. Raise `ConfigError` if the suffix is unknown.

    Args:
        sink: Name of the sink, for the message.
        target: Name of the file.
    """
    suffix = Path(target).suffix.lower()
    if suffix not in FORMATS:
        msg = f"sink `{sink}:{target}`: the name of the file must end in {', '.join(FORMATS)}"
        raise ConfigError(msg)
    return FORMATS[suffix]


def check_crf(crf: int) -> None:
    """Raise `ValueError` if a constant rate factor is out of range."""
    if not LOSSLESS_CRF <= crf <= WORST_CRF:
        msg = f"crf={crf}: expected a number from {LOSSLESS_CRF} to {WORST_CRF}"
        raise ValueError(msg)


class WholeFile:
    """A video file that ends with the last complete frame, even if the disk is full.

    A write that fails is undone up to the last call of `mark`. Later writes, with which FFmpeg finishes a file, are
    discarded.

    Args:
        file: The open file, without a buffer.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._mark = file.tell()
        self._has_failed = False

    def mark(self) -> None:
        """Record that everything written so far is complete."""
        if not self._has_failed:
            self._mark = self._file.tell()

    def write(self, data: bytes) -> int:
        """Write all bytes. Raise `OSError` if the disk is full."""
        if self._has_failed:
            return len(data)
        try:
            written = 0
            while written < len(data):
                written += self._file.write(data[written:])
        except OSError:
            self._has_failed = True
            os.ftruncate(self._file.fileno(), self._mark)
            self._file.seek(self._mark)
            raise
        return written

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another position in the file, as `io` does."""
        return self._file.tell() if self._has_failed else self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def output_error(path: Path, error: Exception) -> OutputError:
    """Return the error for a video file that cannot be written."""
    return OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")


def report_left(segments: Segments, setup: Setup) -> Path | None:
    """Report a video that a killed process left unfinished. Remove it if it contains no image.

    Return the newest file of an earlier loop, which may have been removed, or None if there is none.
    """
    left = segments.left()
    if left is None:
        return None
    if not _has_image(left):
        left.unlink()
        setup.report(f"removed the video {left} without an image, left behind by a killed process")
    elif not _is_finished(left):
        setup.report(f"{left} was left by a killed process: it can be played, but may lack its last second")
    return left


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

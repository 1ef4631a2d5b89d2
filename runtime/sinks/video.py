"""An annotated video file, by OpenCV's FFmpeg."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.files import close_files, replacing
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.draw import annotate
from orilla.runtime.sources.video import quiet_capture
from orilla.runtime.stdio import hidden_stderr

NEEDS_ARGUMENT = True

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""File suffix to the codec that OpenCV's wheels can write into it; browsers play `.webm`."""

DEFAULT_RATE_HZ = 25.0

MAX_STILL_S = 5.0
"""A gap is filled with the last picture before it, so that the video keeps time, for at most so long."""


class Video:
    """Opened at the first tick, which sets the size; later frames of another size are scaled to it.

    It plays as fast as what it shows: a frame that got no answer is stood in for by the next that did.
    """

    def __init__(self, path: Path, rate_hz: float | None, *, live: bool) -> None:
        self._path = path
        self._rate_hz = rate_hz or DEFAULT_RATE_HZ
        self._counted, self._live = rate_hz is not None, live
        self._due = self._begin = 0
        self._files = ExitStack()
        self._temporary = self._files.enter_context(replacing(path))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)
        self._written = 0

    def write(self, tick: Tick) -> bool:
        repeats = self._repeats(tick)
        if not repeats:
            return True
        picture = annotate(tick)
        if self._writer is None:
            self._open(picture.shape[1], picture.shape[0])
        if (picture.shape[1], picture.shape[0]) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        for _ in range(repeats):
            self._writer.write(picture)  # type: ignore[union-attr]
        self._written += repeats
        return True

    def _repeats(self, tick: Tick) -> int:
        """How often this picture is written, until the video has come to its time; of a live source by the clock, of a
        recording by the frame's number, of pictures without a rate once."""
        if not self._live and not self._counted:
            return 1
        place = round(tick.captured_ns * self._rate_hz / 1e9) if self._live else tick.index
        if not self._due:
            self._begin = place
        repeats = place - self._begin + 1 - self._due
        longest = int(MAX_STILL_S * self._rate_hz)
        if repeats > longest:
            self._begin += repeats - longest
            repeats = longest
        self._due += max(0, repeats)
        return max(0, repeats)

    def _open(self, width: int, height: int) -> None:
        # The codecs store colour at half resolution: sides are even.
        self._size = (max(2, width - width % 2), max(2, height - height % 2))
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        with hidden_stderr():  # FFmpeg is surprised at VP8 in WebM, and writes it all the same
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, codec, self._rate_hz, self._size)
        if not self._writer.isOpened():
            self.close(complete=False)
            msg = f"cannot write {self._path}: OpenCV refuses a {self._size[0]}x{self._size[1]} video there"
            raise OutputError(msg)

    def close(self, *, complete: bool) -> None:
        if self._writer is not None:
            self._writer.release()
        whole = complete and self._writer is not None and self._readable()
        close_files(self._files, complete=whole)
        if complete and self._written and not whole:
            msg = f"cannot write {self._path}: the file came out incomplete; is the disk full?"
            raise OutputError(msg)

    def _readable(self) -> bool:
        """Whether what was written can be read back: OpenCV's writer never says that the disk is full."""
        capture = quiet_capture(str(self._temporary), cv2.CAP_FFMPEG)
        try:
            missing = self._written - capture.get(cv2.CAP_PROP_FRAME_COUNT)
            return bool(capture.isOpened() and capture.grab() and missing <= max(2, 0.05 * self._written))
        finally:
            capture.release()


def open_sink(argument: str, rate_hz: float | None, *, live: bool = False) -> Video:
    """`video:OUT.mp4`, `.avi` or `.webm`; the file appears when the loop has ended well."""
    path = Path(argument)
    if path.suffix.lower() not in CODECS:
        msg = f"sink video:{argument}: the file must end in {', '.join(CODECS)}"
        raise ConfigError(msg)
    return Video(path, rate_hz, live=live)

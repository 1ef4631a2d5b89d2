"""Sink that writes an annotated video file through OpenCV's FFmpeg."""

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
"""File suffix to the codec that OpenCV's wheels can write into it. Browsers play `.webm`."""

DEFAULT_RATE_HZ = 25.0

MAX_STILL_S = 5.0
"""Maximum still that fills a gap, seconds. Gaps are filled with the previous image, so that the video keeps time."""


class Video:
    """Video file. The first tick sets its size, and later frames are scaled to it.

    The video plays at the speed of its content: a frame without an answer is replaced by the next one with an answer.
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
        """Return how often this image is written until the video has reached its time.

        For a live source the clock counts, for a recording the frame number. Images without a rate are written once.
        """
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
        # The codecs store colour at half resolution, so both sides must be even.
        self._size = (max(2, width - width % 2), max(2, height - height % 2))
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        with hidden_stderr():  # FFmpeg warns about VP8 in WebM but writes it
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, codec, self._rate_hz, self._size)
        if not self._writer.isOpened():
            self.close(complete=False)
            msg = f"cannot write {self._path}: OpenCV cannot write a {self._size[0]}x{self._size[1]} video there"
            raise OutputError(msg)

    def close(self, *, complete: bool) -> None:
        if self._writer is not None:
            self._writer.release()
        whole = complete and self._writer is not None and self._readable()
        close_files(self._files, complete=whole)
        if complete and self._written and not whole:
            msg = f"cannot write {self._path}: the file is incomplete, perhaps because the disk is full"
            raise OutputError(msg)

    def _readable(self) -> bool:
        """Return True if the written file can be read. OpenCV's writer never reports a full disk."""
        capture = quiet_capture(str(self._temporary), cv2.CAP_FFMPEG)
        try:
            missing = self._written - capture.get(cv2.CAP_PROP_FRAME_COUNT)
            return bool(capture.isOpened() and capture.grab() and missing <= max(2, 0.05 * self._written))
        finally:
            capture.release()


def open_sink(argument: str, rate_hz: float | None, *, live: bool = False) -> Video:
    """Open the sink `video:OUT.mp4`, `.avi` or `.webm`. The file appears when the loop has ended well."""
    path = Path(argument)
    if path.suffix.lower() not in CODECS:
        msg = f"sink video:{argument}: the file must end in {', '.join(CODECS)}"
        raise ConfigError(msg)
    return Video(path, rate_hz, live=live)

"""Sink that draws the results on the frames and writes them to a video file with OpenCV's FFmpeg."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import cv2

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.files import close_files, replacing
from orilla.runtime.frame import Tick, media_time_ns
from orilla.runtime.sources.capture import quiet_capture
from orilla.runtime.stdio import hidden_stderr

NEEDS_ARGUMENT = True

CODECS = {".mp4": "mp4v", ".avi": "MJPG", ".webm": "VP80"}
"""Codec for each file suffix. OpenCV's wheels can write these. Browsers play `.webm`."""

DEFAULT_RATE_HZ = 25.0
"""Frame rate of the video if the source has none."""

MAX_STILL_S = 5.0
"""Longest time in seconds for which an image is repeated. A longer gap between two answers is shortened to this
time."""


class Video:
    """Writes a video file. The first image sets the size, and later images are scaled to it.

    The video plays at the speed of the source. In place of a frame without an answer, it shows the next answered
    frame.
    """

    def __init__(self, path: Path, rate_hz: float | None, *, live: bool) -> None:
        self._path = path
        self._rate_hz = rate_hz or DEFAULT_RATE_HZ
        self._has_rate, self._live = rate_hz is not None, live
        self._written = self._first_slot = 0
        self._files = ExitStack()
        self._temporary = self._files.enter_context(replacing(path))
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, tick: Tick) -> bool:
        """Write the annotated frame of one tick."""
        repeats = self._repeats(tick)
        if not repeats:
            return True
        image = tick.draw()
        if self._writer is None:
            self._open(image.shape[1], image.shape[0])
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        for _ in range(repeats):
            self._writer.write(image)  # type: ignore[union-attr]
        self._written += repeats
        return True

    def _repeats(self, tick: Tick) -> int:
        """Return the number of times that an image must be written so that the video catches up with the source.

        For a live source, this depends on the capture times, and for a recorded source, on the times of the frames in
        it. If a recorded source has no frame rate, each image is written once. With a variable frame rate, an image
        whose place in the video is taken is written late, so that no answer is lost.
        """
        if not self._live and not self._has_rate:
            return 1
        time_ns = tick.captured_ns if self._live else media_time_ns(tick.frame, self._rate_hz) or 0
        slot = round(time_ns * self._rate_hz / 1e9)
        if not self._written:
            self._first_slot = slot
        repeats = slot - self._first_slot + 1 - self._written
        max_repeats = int(MAX_STILL_S * self._rate_hz)
        if repeats > max_repeats:
            self._first_slot += repeats - max_repeats
            repeats = max_repeats
        return max(0 if self._live else 1, repeats)

    def _open(self, width: int, height: int) -> None:
        # The codecs store colour with half the resolution, so width and height must be even.
        self._size = (max(2, width - width % 2), max(2, height - height % 2))
        codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
        with hidden_stderr():  # FFmpeg prints a warning about VP8 in WebM, but writes the file correctly.
            self._writer = cv2.VideoWriter(str(self._temporary), cv2.CAP_FFMPEG, codec, self._rate_hz, self._size)
        if not self._writer.isOpened():
            self.close(complete=False)
            msg = f"cannot write {self._path}: OpenCV cannot open a {self._size[0]}x{self._size[1]} video there"
            raise OutputError(msg)

    def close(self, *, complete: bool) -> None:
        """Finish the output, or discard it if `complete` is False."""
        if self._writer is not None:
            self._writer.release()
        keep = complete and self._writer is not None and self._readable()
        close_files(self._files, complete=keep)
        if complete and self._written and not keep:
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
    """Open the sink on the video file `argument`. The file gets its final name at the end of the loop."""
    path = Path(argument)
    if path.suffix.lower() not in CODECS:
        msg = f"sink `video:{argument}`: the name of the file must end in {', '.join(CODECS)}"
        raise ConfigError(msg)
    return Video(path, rate_hz, live=live)

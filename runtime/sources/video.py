"""Source of a video file, decoded by OpenCV's FFmpeg: every frame, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2

from orilla.devices.cores import available_cores, loop_threads
from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import CorruptFrames, rate_of, retrieved
from orilla.runtime.sources.source import READY_BUFFERS, now_ns
from orilla.runtime.stdio import hidden_stderr

MISSING_SHARE = 0.05
"""Share of the declared frames that may be missing at the end before a file counts as truncated. Some containers only
estimate the count."""


class VideoFile:
    """Frames of one file. The capture time is the moment of decoding."""

    live = False

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        self._name = name
        self._capture = capture
        self._pool, self._corrupt = BufferPool(READY_BUFFERS), CorruptFrames(name)
        self._index = 0
        self.rate_hz = rate_of(capture)
        self._declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))

    @classmethod
    def open(cls, path: Path) -> VideoFile:
        """Open the file. Raises `SourceError` if it is not a video."""
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror or error}"
            raise SourceError(msg) from error
        # FFmpeg by default decodes on every core, which delays inference.
        settings = decoding_threads(max(1, available_cores() - loop_threads()))
        capture = None if empty else quiet_capture(str(path), cv2.CAP_FFMPEG, settings)
        if capture is None or not capture.isOpened():
            msg = f"not a video, or damaged: {path}{' is empty' if empty else ''}"
            raise SourceError(msg)
        return cls(str(path), capture)

    def read(self) -> Frame | Event | None:
        if not self._capture.grab():
            self._check_end()
            return None
        captured_ns, index = now_ns(), self._index
        self._index += 1
        return self._corrupt.checked(index, retrieved(self._capture, self._pool), captured_ns)

    def _check_end(self) -> None:
        if self._index == 0:
            msg = f"no frames in {self._name}: not a video, or damaged"
            raise SourceError(msg)
        if self._declared - self._index > max(2, MISSING_SHARE * self._declared):
            msg = f"{self._name} breaks off at frame {self._index} of {self._declared}: get it again"
            raise SourceError(msg)

    def close(self) -> None:
        self._capture.release()


def decoding_threads(count: int) -> list[int]:
    """Return the capture setting for this number of FFmpeg threads; empty for an OpenCV that does not know it."""
    return [cv2.CAP_PROP_N_THREADS, count] if hasattr(cv2, "CAP_PROP_N_THREADS") else []


def quiet_capture(target: str | int, backend: int, settings: Sequence[int] = ()) -> cv2.VideoCapture:
    """Open a capture without messages of OpenCV. Orilla's errors report what matters.

    Args:
        target: A file, URL, pipeline or camera.
        backend: OpenCV's number of the backend.
        settings: Properties and their values, alternating.
    """
    with _quiet():
        return cv2.VideoCapture(target, backend, list(settings)) if settings else cv2.VideoCapture(target, backend)


@contextmanager
def _quiet() -> Iterator[None]:
    logging = getattr(cv2.utils, "logging", None)
    if logging is None:  # Debian's OpenCV 4.6, which has GStreamer
        with hidden_stderr():
            yield
        return
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)


def open_source(spec: str) -> VideoFile:
    """Open a video file."""
    return VideoFile.open(Path(spec))

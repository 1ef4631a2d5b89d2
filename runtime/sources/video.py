"""A video file, decoded by OpenCV's FFmpeg; every frame, in order."""

from __future__ import annotations

from pathlib import Path

import cv2

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Frame
from orilla.runtime.pool import Pool
from orilla.runtime.sources.source import now_ns

MISSING_SHARE = 0.05
"""A file that ends this much before its declared frame count breaks off; some containers only estimate the count."""


class VideoFile:
    """Frames of one file; the capture time is the moment a frame was decoded."""

    live = False

    def __init__(self, path: Path, capture: cv2.VideoCapture) -> None:
        self._path = path
        self._capture = capture
        self._pool = Pool()
        self._index = 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = rate if 0 < rate <= 1000 else None
        self._declared = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))

    @classmethod
    def open(cls, path: Path) -> VideoFile:
        """Opens the file; raises `SourceError` where it is not a video."""
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
        capture = None if empty else quiet_capture(str(path), cv2.CAP_FFMPEG)
        if capture is None or not capture.isOpened():
            raise SourceError(f"not a video, or damaged: {path}{' is empty' if empty else ''}")
        return cls(path, capture)

    def read(self) -> Frame | None:
        if not self._capture.grab():
            self._check_end()
            return None
        captured_ns = now_ns()
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        ok, image = self._capture.retrieve(self._pool.take((height, width, 3)))
        if not ok or image.size == 0:
            raise SourceError(f"cannot decode frame {self._index} of {self._path}")
        frame = Frame(self._index, image, captured_ns)
        self._index += 1
        return frame

    def _check_end(self) -> None:
        if self._index == 0:
            raise SourceError(f"no frames in {self._path}: not a video, or damaged")
        if self._declared - self._index > max(2, MISSING_SHARE * self._declared):
            raise SourceError(f"{self._path} breaks off at frame {self._index} of {self._declared}: get it again")

    def close(self) -> None:
        self._capture.release()


def quiet_capture(target: str | int, backend: int) -> cv2.VideoCapture:
    """Opens a capture without OpenCV's own messages; what matters is said by our errors."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(target, backend)
    finally:
        cv2.utils.logging.setLogLevel(level)

"""Source for video files. OpenCV's FFmpeg decodes every frame, in order."""

from __future__ import annotations

from pathlib import Path

import cv2

from orilla.devices.cores import available_cores, loop_threads
from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import CorruptFrames, decoding_threads, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.source import READY_BUFFERS, now_ns

MISSING_SHARE = 0.05
"""Share of the declared frames that may be missing at the end. If more are missing, the file counts as truncated. Some
containers only estimate the number of frames."""


class VideoFile:
    """Delivers the frames of one file. The capture time is the time of decoding."""

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
        """Open a file. Raise `SourceError` if it is not a video."""
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            msg = f"cannot read {path}: {error.strerror or error}"
            raise SourceError(msg) from error
        # By default, FFmpeg decodes on all cores, which would slow inference down.
        settings = decoding_threads(max(1, available_cores() - loop_threads()))
        capture = None if empty else quiet_capture(str(path), cv2.CAP_FFMPEG, settings)
        if capture is None or not capture.isOpened():
            msg = f"{path} is empty" if empty else f"{path} is not a video, or is damaged"
            raise SourceError(msg)
        return cls(str(path), capture)

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if not self._capture.grab():
            self._check_end()
            return None
        captured_ns, index = now_ns(), self._index
        self._index += 1
        return self._corrupt.check(index, retrieve(self._capture, self._pool), captured_ns)

    def _check_end(self) -> None:
        if self._index == 0:
            msg = f"no frames in {self._name}: it is not a video, or is damaged"
            raise SourceError(msg)
        if self._declared - self._index > max(2, MISSING_SHARE * self._declared):
            msg = f"{self._name} ends early, at frame {self._index} of {self._declared}: copy or download it again"
            raise SourceError(msg)

    def close(self) -> None:
        """Release the source."""
        self._capture.release()


def open_source(spec: str) -> VideoFile:
    """Open a video file."""
    return VideoFile.open(Path(spec))

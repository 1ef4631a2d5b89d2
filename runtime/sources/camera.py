"""A camera of the operating system; the newest frame counts, time goes on by itself."""

from __future__ import annotations

import cv2

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Frame
from orilla.runtime.pool import Pool
from orilla.runtime.sources.source import now_ns
from orilla.runtime.sources.video import quiet_capture


class Camera:
    """Frames of one device; stamped when the driver hands the frame over, before it is converted."""

    live = True

    def __init__(self, device: str | int, capture: cv2.VideoCapture) -> None:
        self._device = device
        self._capture = capture
        self._pool = Pool()
        self._index = 0
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate_hz = rate if 0 < rate <= 1000 else None

    @classmethod
    def open(cls, device: str | int) -> Camera:
        """Opens camera number or path `device`; raises `SourceError` where there is none."""
        try:
            capture = quiet_capture(device, cv2.CAP_ANY)
        except (cv2.error, OverflowError, SystemError):
            capture = cv2.VideoCapture()
        if not capture.isOpened():
            raise SourceError(f"no camera at {device}: check that it is connected and not in use")
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return cls(device, capture)

    def read(self) -> Frame | None:
        if not self._capture.grab():
            raise SourceError(f"camera {self._device} stopped after {self._index} frames")
        captured_ns = now_ns()
        width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        ok, image = self._capture.retrieve(self._pool.take((height, width, 3)))
        if not ok:
            raise SourceError(f"camera {self._device} gave a frame that cannot be decoded")
        frame = Frame(self._index, image, captured_ns)
        self._index += 1
        return frame

    def close(self) -> None:
        self._capture.release()

"""Source for cameras with an operating system driver, such as USB cameras."""

from __future__ import annotations

import math

import cv2

from orilla.devices.errors import SourceError
from orilla.devices.names import whole_number
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import CorruptFrames, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.source import READY_BUFFERS, Source, now_ns
from orilla.runtime.sources.time_limit import open_live
from orilla.runtime.sources.timestamps import plausible_ns


class Camera:
    """Delivers the frames of one camera.

    The capture time is the driver's time stamp if it uses the monotonic clock, as V4L2 does. Otherwise it is the
    time of arrival.
    """

    live = True

    def __init__(self, device: str | int, capture: cv2.VideoCapture) -> None:
        self._name = f"camera {device}"
        self._capture = capture
        self._pool, self._corrupt = BufferPool(READY_BUFFERS), CorruptFrames(self._name)
        self._index = 0
        self.rate_hz = rate_of(capture)

    @classmethod
    def open(cls, device: str | int) -> Source:
        """Open a camera by its number or device path. The source reopens the camera when it is lost or hangs.

        Raises:
            SourceError: There is no such camera.
        """
        return open_live(lambda: cls(device, _connected(device)), f"camera {device}")

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if not self._capture.grab():
            msg = f"{self._name} stopped after {self._index} frames"
            raise SourceError(msg)
        captured_ns = _stamp(self._capture.get(cv2.CAP_PROP_POS_MSEC), now_ns())
        index = self._index
        self._index += 1
        return self._corrupt.check(index, retrieve(self._capture, self._pool), captured_ns)

    def close(self) -> None:
        """Release the source."""
        self._capture.release()


def _connected(device: str | int) -> cv2.VideoCapture:
    try:
        capture = quiet_capture(device, cv2.CAP_ANY)
    except (cv2.error, OverflowError, SystemError):
        capture = cv2.VideoCapture()
    if not capture.isOpened():
        msg = f"no camera at {device}: check that it is connected and not in use"
        raise SourceError(msg)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _stamp(driver_ms: float, now: int) -> int:
    """Return the driver's time stamp in nanoseconds if it uses the monotonic clock, else `now`.

    Source: Linux, V4L2 buffers, `V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`, which USB cameras set.
    """
    return plausible_ns(int(1e6 * driver_ms), now) if math.isfinite(driver_ms) else now


def open_source(spec: str) -> Source:
    """Open a camera by its number or device path."""
    return Camera.open(int(spec) if whole_number(spec) else spec)

"""Source for cameras with an operating system driver, such as USB cameras."""

from __future__ import annotations

import math

import cv2

from orilla.devices.errors import SourceError
from orilla.devices.names import counted, whole_number
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.camera_options import CameraOptions, asked_text, split_options
from orilla.runtime.sources.camera_settings import apply_controls, check_mode, report
from orilla.runtime.sources.capture import CorruptFrames, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.source import READY_BUFFERS, Source, now_ns
from orilla.runtime.sources.time_limit import open_live
from orilla.runtime.sources.timestamps import plausible_ns
from orilla.runtime.sources.v4l2 import Device, fourcc_name

DEFAULTS = CameraOptions()
"""Options that leave all settings of a camera as they are."""


class Camera:
    """Delivers the frames of one camera.

    The capture time is the driver's time stamp if it uses the monotonic clock, as V4L2 does. Otherwise it is the
    time of arrival.

    Args:
        device: Number or path of the device.
        capture: The opened device.
        settings: Text of the first event, with the requested settings and those that the driver chose. None if none
            were requested.
    """

    live = True

    def __init__(self, device: str | int, capture: cv2.VideoCapture, settings: str | None = None) -> None:
        self._name = f"camera {device}"
        self._settings = settings
        self._capture = capture
        self._pool, self._corrupt = BufferPool(READY_BUFFERS), CorruptFrames(self._name)
        self._index = 0
        self.rate_hz = rate_of(capture)

    @classmethod
    def open(cls, device: str | int, options: CameraOptions = DEFAULTS) -> Source:
        """Open a camera by its number or device path. The source reopens the camera when it is lost or hangs.

        Args:
            device: Number or path of the device.
            options: Size, frame rate, pixel format and controls. The first event of the source states the settings that
                the driver chose.

        Raises:
            SourceError: There is no such camera, or it does not have the size, the format or a control.
        """
        if options.is_empty:
            return open_live(lambda: cls(device, _connected(device)), f"camera {device}")
        return open_live(lambda: cls(device, *_connected_with(device, options)), f"camera {device}")

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if self._settings is not None:
            settings, self._settings = self._settings, None
            return Event("settings", self._index, now_ns(), settings)
        if not self._capture.grab():
            msg = f"{self._name} stopped after {counted(self._index, 'frame')}"
            raise SourceError(msg)
        captured_ns = _stamp(self._capture.get(cv2.CAP_PROP_POS_MSEC), now_ns())
        index = self._index
        self._index += 1
        return self._corrupt.check(index, retrieve(self._capture, self._pool), captured_ns)

    def close(self) -> None:
        """Release the source."""
        self._capture.release()


def _connected(device: str | int, backend: int = cv2.CAP_ANY) -> cv2.VideoCapture:
    try:
        capture = quiet_capture(device, backend)
    except (cv2.error, OverflowError, SystemError):
        capture = cv2.VideoCapture()
    if not capture.isOpened():
        msg = f"no camera at {device}: check that it is connected and not in use"
        raise SourceError(msg)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _connected_with(device: str | int, options: CameraOptions) -> tuple[cv2.VideoCapture, str]:
    """Open a camera with options.

    Return the capture, and a text with the requested settings and those that the driver chose.
    """
    name = f"camera {device}"
    with Device(_path(device)) as driver:
        size, code = check_mode(driver, name, options)
        capture = _connected(device, cv2.CAP_V4L2)
        try:
            # Set the format first. OpenCV keeps it when the size is set, but does not keep the size when the format is
            # set.
            capture.set(cv2.CAP_PROP_FOURCC, code)
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
            if options.fps is not None:
                capture.set(cv2.CAP_PROP_FPS, options.fps)
            apply_controls(driver, name, options)
            given = driver.format()
            if (given.width, given.height, given.pixelformat) != (*size, code):
                msg = f"{name} rejected {asked_text(options)}, and gave {given.width}x{given.height} "
                msg += f"{fourcc_name(given.pixelformat)}: another program may use it"
                raise SourceError(msg)
            return capture, report(driver, name, options)
        except BaseException:
            capture.release()
            raise


def _path(device: str | int) -> str:
    return f"/dev/video{device}" if isinstance(device, int) else device


def _split(spec: str) -> tuple[str | int, CameraOptions]:
    text, options = split_options(spec, CameraOptions)
    return int(text) if whole_number(text) else text, options


def preview(spec: str) -> str | None:
    """Describe the mode that the driver would choose for the options of a camera, without starting the camera.

    Return None if there are no options.
    """
    device, options = _split(spec)
    if options.is_empty:
        return None
    try:
        with Device(_path(device)) as driver:
            (width, height), code = check_mode(driver, f"camera {device}", options)
    except SourceError as error:
        return str(error)
    return f"asked for {asked_text(options)}; the driver gives size={width}x{height} format={fourcc_name(code)}"


def _stamp(driver_ms: float, now: int) -> int:
    """Return the driver's time stamp in nanoseconds if it uses the monotonic clock, else `now`.

    Source: Linux, V4L2 buffers, `V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`, which USB cameras set.
    """
    return plausible_ns(int(1e6 * driver_ms), now) if math.isfinite(driver_ms) else now


def open_source(spec: str) -> Source:
    """Open a camera by its number or device path, with options as in `0?size=1280x720&fps=30`."""
    return Camera.open(*_split(spec))

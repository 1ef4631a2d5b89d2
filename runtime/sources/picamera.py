"""Source for Raspberry Pi cameras. It uses the package `picamera2` of Raspberry Pi OS."""

from __future__ import annotations

import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from orilla.devices.errors import ConfigError, SourceError
from orilla.devices.names import whole_number
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.reconnect import Reconnecting
from orilla.runtime.sources.source import Source, now_ns

SIZE_WH = (1280, 720)
"""Requested width and height in pixels."""

BUFFERS = 4
"""Number of the camera's buffers. One is being exposed, one is being read out, and the loop may use two."""


class PiCamera:
    """Delivers the frames of one camera. The capture time is the time stamp of the sensor."""

    live = True

    def __init__(self, camera: Any, name: str) -> None:
        self._camera, self._name = camera, name
        self._corrupt = CorruptFrames(name)
        self._index = 0
        self.rate_hz: float | None = None

    @classmethod
    def open(cls, argument: str) -> Source:
        """Open a camera by its number, or the first camera if `argument` is empty.

        The source reopens the camera when it is lost.

        Raises:
            ConfigError: picamera2 is not installed.
            SourceError: There is no camera.
        """
        if argument and not whole_number(argument):
            msg = f"picamera2:{argument}: give the number of the camera after the colon"
            raise ConfigError(msg)
        try:
            module = import_module("picamera2")
        except ImportError as error:
            msg = (
                "picamera2 is not installed: on Raspberry Pi OS, run sudo apt install python3-picamera2, and create "
                "the virtual environment with --system-site-packages"
            )
            raise ConfigError(msg) from error
        number = int(argument or 0)
        return Reconnecting(lambda: cls(_started(module, number), f"picamera2:{number}"), f"picamera2:{number}")

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        try:
            request = self._camera.capture_request()
            try:
                captured_ns = _monotonic(request.get_metadata().get("SensorTimestamp"))
                image = request.make_array("main")
            finally:
                request.release()
        except RuntimeError as error:
            msg = f"{self._name} stopped after {self._index} frames: {error}"
            raise SourceError(msg) from error
        index = self._index
        self._index += 1
        return self._corrupt.check(index, image, captured_ns)

    def close(self) -> None:
        """Release the source."""
        with suppress(RuntimeError):  # This error is raised if the camera was unplugged.
            self._camera.stop()
            self._camera.close()


def _started(module: Any, number: int) -> Any:
    try:
        camera = module.Picamera2(number)
        # Despite its name, libcamera's format RGB888 stores blue, green, red.
        main = {"size": SIZE_WH, "format": "RGB888"}
        camera.configure(camera.create_video_configuration(main=main, buffer_count=BUFFERS))
        camera.start()
    except (RuntimeError, IndexError) as error:
        msg = f"no camera at picamera2:{number}: {error}"
        raise SourceError(msg) from error
    return camera


def _monotonic(sensor_ns: int | None) -> int:
    """Convert the sensor's time stamp to the monotonic clock. The sensor's clock also counts while the machine sleeps.

    Source: libcamera's `SensorTimestamp` control: "CLOCK_BOOTTIME".
    """
    now = now_ns()
    if sensor_ns is None:
        return now
    return min(now, sensor_ns - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now))


def open_source(spec: str) -> Source:
    """Open `picamera2` or `picamera2:NUMBER`."""
    return PiCamera.open(spec.partition(":")[2])

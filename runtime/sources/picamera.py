"""Source for Raspberry Pi cameras. It uses the package `picamera2` of Raspberry Pi OS."""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from orilla.devices.errors import ConfigError, SourceError
from orilla.devices.names import whole_number
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.source import Source, now_ns
from orilla.runtime.sources.time_limit import DEFAULT_LIMITS, TimeLimits, open_live
from orilla.runtime.sources.timestamps import plausible_ns

SIZE_WH = (1280, 720)
"""Requested width and height in pixels."""

BUFFERS = 4
"""Number of the camera's buffers. One is being exposed, one is being read out, and the loop may use two."""


class PiCamera:
    """Delivers the frames of one camera. The capture time is the time stamp of the sensor.

    Args:
        camera: The started `picamera2.Picamera2`.
        name: Name of the camera in messages.
        read_s: Time limit for each frame in seconds. Old versions of picamera2 wait without a limit.
    """

    live = True

    def __init__(self, camera: Any, name: str, read_s: float) -> None:
        self._camera, self._name, self._read_s = camera, name, read_s
        self._limit: dict[str, float] = {"wait": read_s} if _takes_seconds(camera) else {}
        self._corrupt = CorruptFrames(name)
        self._index = 0
        self.rate_hz: float | None = None

    @classmethod
    def open(cls, argument: str, limits: TimeLimits = DEFAULT_LIMITS) -> Source:
        """Open a camera by its number, or the first camera if `argument` is empty.

        The source reopens the camera when it is lost or hangs.

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
        name = f"picamera2:{number}"
        # If picamera2 has its own time limit, it must expire before the limit of the reading thread.
        return open_live(lambda: cls(_started(module, number), name, 0.9 * limits.read_s), name, limits)

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        try:
            request = self._camera.capture_request(**self._limit)
            try:
                captured_ns = _monotonic(request.get_metadata().get("SensorTimestamp"))
                image = request.make_array("main")
            finally:
                request.release()
        except (RuntimeError, TimeoutError) as error:
            reason = str(error) or f"no frame for {self._read_s:g} s"
            msg = f"{self._name} stopped after {self._index} frames: {reason}"
            raise SourceError(msg) from error
        index = self._index
        self._index += 1
        return self._corrupt.check(index, image, captured_ns)

    def close(self) -> None:
        """Release the source."""
        with suppress(RuntimeError):  # This error is raised if the camera was unplugged.
            self._camera.stop()
            self._camera.close()

    def interrupt(self) -> None:
        """Close the camera while `read` hangs in another thread. Without this, the camera could not be opened again."""
        self.close()


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


def _takes_seconds(camera: Any) -> bool:
    """Return True if `capture_request` has the argument `wait`.

    In older versions, `wait` is True or False, and any number other than 0 counts as True. If a capture then hangs, the
    time limit of
    the reading thread ends it.
    """
    try:
        return "wait" in inspect.signature(camera.capture_request).parameters
    except (TypeError, ValueError):
        return False


def _monotonic(sensor_ns: int | None) -> int:
    """Convert the sensor's time stamp to the monotonic clock. The sensor's clock also counts while the machine sleeps.

    Source: libcamera's `SensorTimestamp` control: "CLOCK_BOOTTIME".
    """
    now = now_ns()
    if sensor_ns is None:
        return now
    return plausible_ns(sensor_ns - (time.clock_gettime_ns(time.CLOCK_BOOTTIME) - now), now)


def open_source(spec: str) -> Source:
    """Open `picamera2` or `picamera2:NUMBER`."""
    return PiCamera.open(spec.partition(":")[2])

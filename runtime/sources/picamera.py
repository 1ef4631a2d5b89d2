"""Source for Raspberry Pi cameras. It uses the package `picamera2` of Raspberry Pi OS."""

from __future__ import annotations

import inspect
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

from orilla.devices.errors import ConfigError, SourceError
from orilla.devices.names import counted, whole_number
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources.camera_options import PiOptions, asked_text, split_options
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.source import Source, now_ns
from orilla.runtime.sources.time_limit import DEFAULT_LIMITS, TimeLimits, open_live
from orilla.runtime.sources.timestamps import plausible_ns

SIZE_WH = (1280, 720)
"""Requested width and height in pixels."""

DEFAULT_OPTIONS = PiOptions()
"""Options that leave all settings of a camera as they are."""

BUFFERS = 4
"""Number of the camera's buffers. One is being exposed, one is being read out, and the loop may use two."""


class PiCamera:
    """Delivers the frames of one camera. The capture time is the time stamp of the sensor.

    Args:
        camera: The started `picamera2.Picamera2`.
        name: Name of the camera in messages.
        read_s: Time limit for each frame in seconds. Old versions of picamera2 wait without a limit.
        settings: Text of the first event, with the requested settings and those that the camera chose. None if none
            were requested.
    """

    live = True

    def __init__(self, camera: Any, name: str, read_s: float, settings: str | None = None) -> None:
        self._settings = settings
        self._camera, self._name, self._read_s = camera, name, read_s
        self._limit: dict[str, float] = {"wait": read_s} if _takes_seconds(camera) else {}
        self._corrupt = CorruptFrames(name)
        self._index = 0
        self.rate_hz: float | None = None

    @classmethod
    def open(cls, argument: str, limits: TimeLimits = DEFAULT_LIMITS, options: PiOptions = DEFAULT_OPTIONS) -> Source:
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
        return open_live(lambda: cls._opened(module, number, 0.9 * limits.read_s, options), name, limits)

    @classmethod
    def _opened(cls, module: Any, number: int, read_s: float, options: PiOptions) -> PiCamera:
        name, camera = f"picamera2:{number}", _started(module, number, options)
        return cls(camera, name, read_s, None if options.is_empty else _report(camera, name, options))

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if self._settings is not None:
            settings, self._settings = self._settings, None
            return Event("settings", self._index, now_ns(), settings)
        try:
            request = self._camera.capture_request(**self._limit)
            try:
                captured_ns = _monotonic(request.get_metadata().get("SensorTimestamp"))
                image = request.make_array("main")
            finally:
                request.release()
        except (RuntimeError, TimeoutError) as error:
            reason = str(error) or f"no frame for {self._read_s:g} s"
            msg = f"{self._name} stopped after {counted(self._index, 'frame')}: {reason}"
            raise SourceError(msg) from error
        index = self._index
        self._index += 1
        return self._corrupt.check(index, image, captured_ns)

    def close(self) -> None:
        """Release the source."""
        with suppress(RuntimeError):  # The camera was unplugged.
            self._camera.stop()
            self._camera.close()

    def interrupt(self) -> None:
        """Close the camera while `read` hangs in another thread. Without this, the camera could not be opened again."""
        self.close()


def _started(module: Any, number: int, options: PiOptions) -> Any:
    try:
        camera = module.Picamera2(number)
        # Despite its name, libcamera's format RGB888 stores blue, green, red.
        main = {"size": tuple(options.size or SIZE_WH), "format": "RGB888"}
        camera.configure(camera.create_video_configuration(main=main, buffer_count=BUFFERS))
        if controls := _controls(options):
            camera.set_controls(controls)
        camera.start()
    except (RuntimeError, IndexError) as error:
        msg = f"no camera at picamera2:{number}: {error}"
        raise SourceError(msg) from error
    return camera


def _controls(options: PiOptions) -> dict[str, Any]:
    """Return the options as controls of libcamera, which takes times in microseconds."""
    controls: dict[str, Any] = {} if options.fps is None else {"FrameRate": options.fps}
    if "auto" in (options.exposure, options.gain):
        controls["AeEnable"] = True
    if isinstance(options.exposure, float | int):
        controls["ExposureTime"] = round(1000 * options.exposure)
    if isinstance(options.gain, float | int):
        controls["AnalogueGain"] = float(options.gain)
    return controls


def _report(camera: Any, name: str, options: PiOptions) -> str:
    """Describe in one line the requested settings and the size that the camera chose."""
    width, height = camera.camera_configuration()["main"]["size"]
    return f"{name}: asked for {asked_text(options)}; the camera gave size={width}x{height}"


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
    """Open `picamera2` or `picamera2:NUMBER`, with options as in `picamera2?size=1280x720&fps=30`."""
    name, options = split_options(spec, PiOptions)
    return PiCamera.open(name.partition(":")[2], options=options)

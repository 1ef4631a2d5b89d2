"""Query the formats and controls of cameras from their drivers, with the ioctls of V4L2.

Source: the Linux header `videodev2.h`, and the kernel's documentation of the Video for Linux API.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from orilla.devices.errors import SourceError
from orilla.runtime.sources import v4l2_structs as raw

if TYPE_CHECKING:
    from typing_extensions import Self

S = TypeVar("S", bound=ctypes.Structure)

CAPTURE = 1
"""Buffer type of a camera: `V4L2_BUF_TYPE_VIDEO_CAPTURE`."""

CAN_CAPTURE, HAS_DEVICE_CAPS = 0x1, 0x8000_0000
DISCRETE = 1
"""Type of an enumeration whose entries are single values, not a range."""

NEXT, DISABLED, VALUES = 0x8000_0000, 0x1, (1, 2, 3)
"""`NEXT`: flag that requests the next control. `DISABLED`: flag of a control that does not work. `VALUES`: types of
controls that have a value (integer, boolean and menu)."""

MAX_ENTRIES = 1000
"""Maximum number of entries to read from an enumeration, in case a driver never ends it."""


@dataclass(frozen=True, slots=True)
class FrameRates:
    """Frame rates for a size.

    `fps` contains single values, or the lowest and the highest value if `is_range` is True.
    """

    fps: tuple[float, ...]
    is_range: bool = False


@dataclass(frozen=True, slots=True)
class FrameSizes:
    """A size (width and height in pixels) or a range of sizes up to `largest_wh`, with the frame rates."""

    size_wh: tuple[int, int]
    rates: FrameRates
    largest_wh: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """A control of a camera, such as the exposure time, with its range and value in the driver's unit."""

    id: int
    name: str
    minimum: int
    maximum: int
    step: int
    default: int
    value: int | None


def fourcc_name(code: int) -> str:
    """Return the four characters of a pixel format in lower case, without spaces, such as `mjpg`."""
    return code.to_bytes(4, "little").decode("latin-1").strip().lower()


class Device:
    """An open device file, used only to query and set up the driver. Another part of Orilla may read frames meanwhile.

    Args:
        path: Path of the device, such as `/dev/video0`.

    Raises:
        SourceError: The device does not exist, or cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            reason = error.strerror or str(error)
            advice = "run sudo usermod -aG video $USER, and log in again" if error.errno == errno.EACCES else ""
            msg = f"no camera at {path}: {reason}{'; ' if advice else ''}{advice}"
            raise SourceError(msg) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def ask(self, request: int, struct: S) -> S:
        """Send an ioctl, and return the structure filled in by the driver. Raise `OSError` if the driver rejects it."""
        fcntl.ioctl(self._file, request, struct)
        return struct

    def _enumerate(self, request: int, struct: S) -> Iterator[S]:
        """Yield the entries of an enumeration. The driver ends it with an error."""
        for index in range(MAX_ENTRIES):
            struct.index = index
            try:
                yield self.ask(request, struct)
            except OSError:
                return

    def capability(self) -> raw.Capability:
        """Return the name of the camera and of its driver.

        Raises:
            SourceError: The device does not capture video.
        """
        try:
            found = self.ask(raw.QUERYCAP, raw.Capability())
        except OSError as error:
            msg = f"{self._path} is not a camera: {error.strerror}"
            raise SourceError(msg) from error
        flags = found.device_caps if found.capabilities & HAS_DEVICE_CAPS else found.capabilities
        if not flags & CAN_CAPTURE:
            msg = f"{self._path} does not capture video"
            raise SourceError(msg)
        return found

    def formats(self) -> dict[str, tuple[int, str]]:
        """Return the code and the description of each pixel format. The keys are the names."""
        entries = self._enumerate(raw.ENUM_FMT, raw.FormatDescription(type=CAPTURE))
        return {fourcc_name(entry.pixelformat): (entry.pixelformat, _text(entry.description)) for entry in entries}

    def sizes(self, code: int) -> list[FrameSizes]:
        """Return the sizes of a pixel format with their frame rates."""
        found = []
        for entry in self._enumerate(raw.ENUM_FRAMESIZES, raw.FrameSize(pixel_format=code)):
            values = tuple(entry.values)
            if entry.type == DISCRETE:
                size, largest = (values[0], values[1]), None
            else:  # The values are minimum, maximum and step of the width, and then of the height.
                size, largest = (values[0], values[3]), (values[1], values[4])
            found.append(FrameSizes(size, self.rates(code, largest or size), largest))
            if largest is not None:
                break
        return found

    def rates(self, code: int, size_wh: tuple[int, int]) -> FrameRates:
        """Return the frame rates of a pixel format and size."""
        asked = raw.FrameInterval(pixel_format=code, width=size_wh[0], height=size_wh[1])
        rates = []
        for entry in self._enumerate(raw.ENUM_FRAMEINTERVALS, asked):
            values = tuple(entry.values)
            if entry.type != DISCRETE:  # The values are the shortest interval, the longest interval and the step.
                return FrameRates((_rate(values[2], values[3]), _rate(values[0], values[1])), is_range=True)
            rates.append(_rate(values[0], values[1]))
        return FrameRates(tuple(rates))

    def controls(self) -> list[Control]:
        """Return the controls that have a value."""
        found, last = [], 0
        for _ in range(MAX_ENTRIES):
            try:
                entry = self.ask(raw.QUERYCTRL, raw.ControlQuery(id=last | NEXT))
            except OSError:
                break
            last = entry.id
            if entry.type in VALUES and not entry.flags & DISABLED:
                limits = (entry.minimum, entry.maximum, entry.step, entry.default)
                found.append(Control(entry.id, _text(entry.name), *limits, self.value(entry.id)))
        return found

    def value(self, control: int) -> int | None:
        """Return the value of a control, or None if it currently has none."""
        try:
            return int(self.ask(raw.G_CTRL, raw.ControlValue(id=control)).value)
        except OSError:
            return None

    def set_value(self, control: int, value: int) -> bool:
        """Set a control. Return True if the driver accepts the value, which it may adjust."""
        try:
            self.ask(raw.S_CTRL, raw.ControlValue(id=control, value=value))
        except OSError:
            return False
        return True

    def format(self) -> raw.Format:
        """Return the current size and pixel format."""
        return self.ask(raw.G_FMT, raw.Format(type=CAPTURE))

    def would_give(self, size_wh: tuple[int, int], code: int) -> raw.Format:
        """Return the size and pixel format that the driver would choose for a request, without changing anything."""
        asked = self.format()
        asked.width, asked.height, asked.pixelformat = *size_wh, code
        asked.bytesperline = asked.sizeimage = 0
        return self.ask(raw.TRY_FMT, asked)

    def fps(self) -> float | None:
        """Return the current frame rate, or None if the driver does not state one."""
        try:
            found = self.ask(raw.G_PARM, raw.StreamParameters(type=CAPTURE))
        except OSError:
            return None
        return _rate(found.numerator, found.denominator) or None


def _rate(numerator: int, denominator: int) -> float:
    """Return the frame rate for an interval of `numerator / denominator` seconds."""
    return round(denominator / numerator, 3) if numerator else 0.0


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode(errors="replace")


def device_paths() -> list[str]:
    """Return the paths of the video devices of this machine. The keys are the numbers."""
    paths = [path for path in Path("/dev").glob("video*") if path.name.removeprefix("video").isdecimal()]
    return [str(path) for path in sorted(paths, key=lambda path: int(path.name.removeprefix("video")))]

"""The options of cameras, such as size, frame rate, pixel format and exposure, given as text or in Python."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, TypeVar

import msgspec

from orilla.devices.options import convert_options, parse_query


class FrameSize(NamedTuple):
    """Width and height in pixels, which the user may write as in `1280x720`."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> FrameSize:
        """Convert text into a size. Raise `ValueError` if the text is not a size."""
        found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.lower(), re.ASCII)
        if found is None:
            msg = "expected width and height in pixels, such as 1280x720"
            raise ValueError(msg)
        return cls(int(found[1]), int(found[2]))


class PixelFormat(str):
    """The name of a pixel format, such as `mjpg`, in lower case."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> PixelFormat:
        """Convert text into a name. Raise `ValueError` if it cannot be the four characters of a format."""
        name = {"mjpeg": "mjpg"}.get(text.lower(), text.lower())
        if not 3 <= len(name) <= 4 or not name.isascii():
            msg = "expected the four characters of a pixel format, such as mjpg or yuyv"
            raise ValueError(msg)
        return cls(name)


Setting = float | Literal["auto"] | None
"""A number, `auto` if the camera chooses the value, or None if the value is not changed."""


class PiOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of a Raspberry Pi camera. A setting that is None is not changed."""

    size: FrameSize | None = None
    """Width and height in pixels."""
    fps: float | None = None
    """Frame rate in frames per second."""
    exposure: Setting = None
    """Exposure time in milliseconds, or `auto`."""
    gain: Setting = None
    """Gain, or `auto`. For a V4L2 camera, the gain is in the unit of the driver."""

    def __post_init__(self) -> None:
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            msg = f"size={self.size}: expected width and height in pixels"
            raise ValueError(msg)
        if self.fps is not None and not 0 < self.fps <= 1000:
            msg = f"fps={self.fps:g}: expected frames per second, up to 1000"
            raise ValueError(msg)
        for name in ("exposure", "gain"):
            value = getattr(self, name)
            if value not in (None, "auto") and not 0 <= value < 1e6:
                msg = f"{name}={value}: expected a number from 0 to 1000000, or auto"
                raise ValueError(msg)

    @property
    def is_empty(self) -> bool:
        """Return True if no option is set."""
        return all(getattr(self, name) is None for name in self.__struct_fields__)

    def settings(self) -> dict[str, Setting]:
        """Return the requested controls by name."""
        names = [name for name in self.__struct_fields__ if name not in ("size", "fps", "format")]
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


T = TypeVar("T", bound=PiOptions)


class CameraOptions(PiOptions, frozen=True, kw_only=True):
    """The options of a camera with a V4L2 driver."""

    format: PixelFormat | str | None = None
    """Pixel format in which the camera sends its frames, such as `mjpg` or `yuyv`."""
    focus: Setting = None
    """Focus in the unit of the driver, or `auto`."""
    white_balance: Setting = None
    """Colour temperature in kelvin, or `auto`."""


def split_options(spec: str, options: type[T]) -> tuple[str, T]:
    """Split a specification such as `0?size=1280x720&fps=30` into the camera and its options.

    Raises:
        ConfigError: An option is unknown, is given twice, or has a wrong value.
    """
    device, _, query = spec.partition("?")
    return device, convert_options(parse_query(query, f"source `{spec}`"), options, "source", device)


def asked_text(options: PiOptions) -> str:
    """Return the options that are not None as `key=value`."""
    asked = {} if options.size is None else {"size": "x".join(map(str, options.size))}
    asked |= {"format": str(options.format)} if isinstance(options, CameraOptions) and options.format else {}
    asked |= {} if options.fps is None else {"fps": f"{options.fps:g}"}
    asked |= {key: value if isinstance(value, str) else f"{value:g}" for key, value in options.settings().items()}
    return " ".join(f"{key}={value}" for key, value in asked.items())

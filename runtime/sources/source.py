"""What a source is, and how a name, path or camera number becomes one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol

import numpy as np

from orilla.devices.errors import SourceError, unknown_name
from orilla.runtime.frame import Frame
from orilla.runtime.preprocess import Image

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


class Source(Protocol):
    """Gives frames one by one, to one thread."""

    live: bool
    """Whether time goes on when nobody reads: a camera, not a file."""
    rate_hz: float | None
    """Frames per second by which a recording should be played; None where there is no such rate."""

    def read(self) -> Frame | None:
        """The next frame, or None at the end; raises `SourceError` where it breaks off."""

    def close(self) -> None:
        """Frees the device or file."""


class Ring:
    """Picture buffers used in turn, so that a steady stream allocates nothing."""

    def __init__(self, count: int) -> None:
        self._buffers: list[Image | None] = [None] * count
        self._next = 0

    def take(self, shape: tuple[int, int, int]) -> Image:
        """A buffer of that shape; it is handed out again after `count - 1` further calls."""
        buffer = self._buffers[self._next]
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[self._next] = np.empty(shape, np.uint8)
        self._next = (self._next + 1) % len(self._buffers)
        return buffer


def now_ns() -> int:
    """The clock that stamps frames: monotonic, nanoseconds."""
    return time.monotonic_ns()


def open_source(spec: str | int | Path, *, buffers: int = 1) -> Source:
    """Opens a camera, a video file, a folder of pictures or one picture, or `scenes`.

    Args:
        spec: a camera's number or `/dev/video…`, a path, `scenes` or `scenes:SEED`.
        buffers: frames that the caller may hold at a time.

    Raises:
        SourceError: no such file or camera, or not a video.
        ConfigError: an unknown name.
    """
    text = str(spec)
    path = Path(text)
    if text.isdigit() or text.startswith("/dev/video"):
        from orilla.runtime.sources.camera import Camera

        return Camera.open(int(text) if text.isdigit() else text, buffers)
    if path.is_dir() or (path.is_file() and path.suffix.lower() in PICTURES):
        from orilla.runtime.sources.images import Images

        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return Images.open([file for file in files if file.suffix.lower() in PICTURES], text)
    if path.is_file():
        from orilla.runtime.sources.video import VideoFile

        return VideoFile.open(path, buffers)
    name, _, argument = text.partition(":")
    if name == "scenes":
        from orilla.runtime.sources.scenes import Scenes

        return Scenes.open(argument)
    if path.suffix or "/" in text:
        raise SourceError(f"no such file: {text}")
    raise unknown_name("source", text, ["a camera number", "a file", "a folder of pictures", "scenes"])

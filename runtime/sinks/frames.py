"""Sink that writes frames as image files, with the results drawn on them."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.files import make_folder
from orilla.runtime.frame import Frame, Tick
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = True

PART = ".part"
"""Name suffix of a file that is being written. Such a name also begins with a dot."""

OLD_S = 10
"""An incomplete file older than this number of seconds was left behind by a killed process."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    on: Literal["each", "change"] = "each"
    """`each` writes every frame. `change` writes only the frames whose result differs from the result of the last
    written frame."""
    draw: Literal["result", "nothing"] = "result"
    """`result` draws the result on the image, and `nothing` leaves it unchanged."""
    format: Literal["jpg", "png", "webp"] = "jpg"


class Frames(Sink):
    """Writes one file per tick, with the time and the index of the frame in its name.

    A file gets its final name when it is complete. Images from a folder keep their file names. For a file
    in a subfolder, the name begins with the name of the subfolder, as in `cat-1.jpg`.
    """

    def __init__(self, folder: Path, options: Options, setup: Setup) -> None:
        make_folder(folder)
        _remove_left(folder, setup)
        self._folder, self._options = folder, options
        self._began = f"{datetime.now().astimezone():%Y%m%d-%H%M%S}"
        self._last: dict[str | None, object] = {}

    def write(self, tick: Tick) -> bool:
        """Write the frame of one tick."""
        if not isinstance(tick.frame, Frame):
            msg = "there is no image to write: use the sink `jsonl`"
            raise ConfigError(msg)
        if self._options.on == "change":
            seen = tick.result.state()
            if self._last.get(tick.source) == seen:
                return True
            self._last[tick.source] = seen
        image = tick.draw() if self._options.draw == "result" else tick.frame.image
        stem = _stem(tick.frame.name) if tick.frame.name else f"{self._began}-{tick.index:08d}"
        stem = stem if tick.source is None else f"{tick.source}-{stem}"
        self._write(self._folder / f"{stem}.{self._options.format}", image)
        return True

    def close(self) -> None:
        """Do nothing, because every file is complete."""

    def _write(self, path: Path, image: NDArray[np.uint8]) -> None:
        ok, data = cv2.imencode(path.suffix, image)
        assert ok, path.suffix
        temporary = path.with_name(f".{path.name}{PART}")
        try:
            temporary.write_bytes(data.tobytes())
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            msg = f"cannot write {path}: {error.strerror or error}"
            raise OutputError(msg) from error


def _stem(name: str) -> str:
    """Return the name of an image as one word, without its suffix."""
    return "-".join(Path(name).with_suffix("").parts)


def _remove_left(folder: Path, setup: Setup) -> None:
    """Remove incomplete files that a killed process left behind."""
    for path in folder.glob(f".*{PART}"):
        if time.time() - path.stat().st_mtime > OLD_S:
            path.unlink(missing_ok=True)
            setup.report(f"removed the incomplete image {path}, left behind by a killed process")


def open_sink(target: str, options: Options, setup: Setup) -> Frames:
    """Open the sink, which writes into the folder `target`. The folder is created if it is missing."""
    return Frames(Path(target), options, setup)

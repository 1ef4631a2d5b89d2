"""Source that reads image files in the order of their names. A file that cannot be read is reported and skipped."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import DataError, SourceError
from orilla.devices.gate import read_file
from orilla.devices.names import readable
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import MAX_IMAGE_BYTES, decode_quietly
from orilla.runtime.preprocessing.image_format import why_undecoded
from orilla.runtime.sources.source import image_files, now_ns


class Images:
    """Delivers one frame per file."""

    live = False
    rate_hz: float | None = None

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._index = 0

    @classmethod
    def open(cls, paths: list[Path], folder: str) -> Images:
        """Create the source. Raise `SourceError` if there is no image. The message names `folder`."""
        if not paths:
            msg = f"no images in {folder}"
            raise SourceError(msg)
        return cls(paths)

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if self._index == len(self._paths):
            return None
        path, index = self._paths[self._index], self._index
        self._index += 1
        try:
            data = read_file(path, MAX_IMAGE_BYTES)
        except DataError as error:
            return Event("corrupt", index, now_ns(), readable(str(error)))
        captured_ns = now_ns()
        image = decode_quietly(data)
        if image is None:
            return Event("corrupt", index, captured_ns, f"cannot decode {readable(str(path))}: {why_undecoded(data)}")
        return Frame(index, image, captured_ns, readable(path.name))

    def close(self) -> None:
        """Release the source."""
        self._paths = []


def open_source(spec: str) -> Images:
    """Open a folder of images, or one image."""
    path = Path(spec)
    return Images.open(image_files(path) if path.is_dir() else [path], spec)

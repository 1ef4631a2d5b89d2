"""Pictures from files, in the order of their names."""

from __future__ import annotations

from pathlib import Path

import cv2

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Frame
from orilla.runtime.sources.source import now_ns


class Images:
    """One frame for each file."""

    live = False
    rate_hz: float | None = None

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths
        self._index = 0

    @classmethod
    def open(cls, paths: list[Path], where: str) -> Images:
        """Raises `SourceError` where there is no picture."""
        if not paths:
            raise SourceError(f"no pictures in {where}")
        return cls(paths)

    def read(self) -> Frame | None:
        if self._index == len(self._paths):
            return None
        path = self._paths[self._index]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise SourceError(f"cannot decode {path}: not a picture, or damaged")
        frame = Frame(self._index, image, now_ns(), path.name)
        self._index += 1
        return frame

    def close(self) -> None:
        self._paths = []

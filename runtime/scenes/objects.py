"""The objects that a rendered scene shows, with the exact boxes of their visible pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from orilla.runtime.scenes.drive import Color, Drive
from orilla.runtime.scenes.ground import Floats, Labels, View
from orilla.runtime.scenes.things import Canvas, things_near

KINDS = ("vehicle", "tree", "building")
"""Names of the object kinds."""

MIN_SIDE = 4
"""Minimum width and height of the visible box of a clear object, in pixels."""
MIN_VISIBLE = 0.35
"""Minimum visible share of a clear object."""


class VisibleObject(NamedTuple):
    """An object of which at least one pixel is visible."""

    kind: str
    box_xyxy: tuple[int, int, int, int]
    """Left, top, right and bottom edge of the visible pixels. Right and bottom are exclusive."""
    clear: bool
    """False if the object is very small or mostly hidden. Such objects cannot be found reliably."""
    identity: tuple[int, ...]
    """Numbers that identify the object among the objects of its kind. They are the same in all images of a drive."""


class _NumberedCanvas(Canvas):
    """A canvas that stores, for each pixel, the number of the visible object instead of its class."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.uint8))
        self.number = 0

    def _layers(self, color: Color, label: int | None) -> list[tuple[Floats | Labels, Color | int]]:
        return [] if label is None else [(self.labels, self.number)]


def visible_objects(seed: int, time_s: float = 0.0, size_hw: tuple[int, int] = (360, 640)) -> list[VisibleObject]:
    """Return the objects in the image that `render` returns for the same arguments, from far to near."""
    view = View(Drive.from_seed(seed), time_s, *size_hw)
    # A number must fit into one byte, so at most 254 objects are drawn. A scene has about fifty objects.
    things = sorted(things_near(view), key=lambda thing: -thing.z)[-254:]
    canvas = _NumberedCanvas(*size_hw)
    alone: list[int] = []
    for number, thing in enumerate(things, start=1):
        canvas.number = number
        thing.paint(view, canvas)
        alone.append(int(np.count_nonzero(canvas.labels == number)))
    found = []
    for number, thing in enumerate(things, start=1):
        pixels = canvas.labels == number
        visible = int(np.count_nonzero(pixels))
        if visible:
            left, top, right, bottom = box = _box(pixels)
            clear = min(right - left, bottom - top) >= MIN_SIDE and visible >= MIN_VISIBLE * alone[number - 1]
            kind = "building" if thing.kind == "wall" else thing.kind
            found.append(VisibleObject(kind, box, clear, thing.identity))
    return found


def _box(pixels: Labels) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1

"""Objects on the ground: trees, buildings and vehicles, painted from far to near."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from orilla.runtime.scenes.drive import Color, tint
from orilla.runtime.scenes.ground import GROUND, VEHICLE, Floats, Labels, View

VEHICLE_COLORS = ((40, 40, 45), (200, 200, 205), (60, 60, 170), (150, 90, 50), (120, 120, 120), (70, 130, 180))
TREE_COLORS = ((35, 75, 45), (30, 60, 30), (50, 95, 70), (45, 85, 95))
WALL_COLORS = ((110, 125, 145), (150, 155, 160), (90, 105, 150), (130, 140, 130))

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels."""
Point = tuple[int, int]
"""Column and row in pixels."""


class Canvas:
    """An image and its labels, which are drawn together."""

    def __init__(self, image: Floats, labels: Labels) -> None:
        self.image, self.labels = image, labels

    def rectangle(self, box: Box, color: Color, label: int | None) -> None:
        """Fill a box. If `label` is None, the labels stay unchanged."""
        for layer, value in self._layers(color, label):
            cv2.rectangle(layer, box[:2], box[2:], value, -1)

    def ellipse(self, middle: Point, half: Point, color: Color, label: int | None) -> None:
        """Fill an ellipse with horizontal and vertical axes. `half` contains half its width and half its height."""
        for layer, value in self._layers(color, label):
            cv2.ellipse(layer, middle, half, 0, 0, 360, value, -1)

    def polygon(self, corners: list[Point], color: Color, label: int | None) -> None:
        """Fill a polygon."""
        for layer, value in self._layers(color, label):
            cv2.fillPoly(layer, [np.array(corners, np.int32)], value)

    def _layers(self, color: Color, label: int | None) -> list[tuple[Floats | Labels, Color | int]]:
        painted: list[tuple[Floats | Labels, Color | int]] = [(self.image, color)]
        return painted if label is None else [*painted, (self.labels, label)]


@dataclass(frozen=True, slots=True)
class Thing:
    """An object, with the position of its base and its size in metres."""

    kind: str
    """`vehicle`, `tree` or `wall` (a building)."""
    u: float
    """Distance from the centre of the road in metres, positive to the right."""
    z: float
    """Distance from the camera in metres."""
    width: float
    tall: float
    color: Color
    identity: tuple[int, ...] = ()
    """Numbers that identify the object among the objects of its kind. They are the same in all images of a drive."""

    def paint(self, view: View, canvas: Canvas) -> None:
        """Draw the object as the camera sees it, with haze."""
        left, foot = view.project(self.u - self.width / 2, self.z, 0.0)
        right, top = view.project(self.u + self.width / 2, self.z, self.tall)
        if right <= left or foot <= top or right < 0 or left >= view.width:
            return
        haze = float(view.haze(self.z))
        b, g, r = (c * (1 - haze) + air * haze for c, air in zip(self.color, view.drive.sky, strict=True))
        draw = {"vehicle": _vehicle, "tree": _tree, "wall": _wall}[self.kind]
        draw(canvas, (left, top, right, foot), (b, g, r))


def _vehicle(canvas: Canvas, box: Box, color: Color) -> None:
    left, top, right, foot = box
    wide, tall = right - left, foot - top
    ground, shoulder = max(1, tall // 12), top + tall // 3
    canvas.ellipse(((left + right) // 2, foot - ground), (wide * 6 // 10, ground), (25, 25, 25), None)
    canvas.polygon(
        [
            (left + wide // 10, shoulder),
            (left + wide // 5, top),
            (right - wide // 5, top),
            (right - wide // 10, shoulder),
        ],
        _shade(color, 0.35),
        VEHICLE,
    )
    canvas.rectangle((left, shoulder, right, foot - ground), color, VEHICLE)
    wheel, lamp = max(1, wide // 6), max(1, tall // 12)
    for x in (left, right - wheel):
        canvas.rectangle((x, foot - tall // 5, x + wheel, foot), (20, 20, 20), VEHICLE)
    for x in (left + lamp, right - 2 * lamp):
        canvas.rectangle((x, top + tall // 2, x + lamp, top + tall // 2 + lamp), (40, 40, 230), None)


def _tree(canvas: Canvas, box: Box, color: Color) -> None:
    left, top, right, foot = box
    middle, trunk, crown = (left + right) // 2, max(1, (right - left) // 12), max(1, (foot - top) * 2 // 5)
    canvas.rectangle((middle - trunk, top, middle + trunk, foot), _shade(color, 0.5), GROUND)
    canvas.ellipse((middle, top + crown), ((right - left) // 2, crown), color, GROUND)


def _wall(canvas: Canvas, box: Box, color: Color) -> None:
    left, top, right, foot = box
    canvas.rectangle(box, color, GROUND)
    step_x, step_y = max(3, (right - left) // 5), max(3, (foot - top) // 5)
    for x in range(left + step_x // 3, right - step_x // 2, step_x):
        for y in range(top + step_y // 3, foot - step_y, step_y):
            canvas.rectangle((x, y, x + step_x // 2, y + step_y // 2), _shade(color, 0.55), None)


def _shade(color: Color, share: float) -> Color:
    return color[0] * share, color[1] * share, color[2] * share


def things_near(view: View) -> list[Thing]:
    """Return the objects near the camera.

    Trees and buildings have fixed positions, and vehicles move along their lanes.
    """
    drive = view.drive
    things: list[Thing] = []
    spacing = 9.0
    first = int(view.travel // spacing)
    for slot in range(first, first + int(140 / spacing)):
        rng = np.random.default_rng([drive.seed, slot, 1])
        z = slot * spacing + rng.uniform(0, spacing) - view.travel
        if z < 4:
            continue
        for side in (-1, 1):
            beside = drive.half_width_m + drive.pavement_m
            if rng.random() < 0.55:
                tall = rng.uniform(4, 11)
                color = tint(rng, TREE_COLORS[rng.integers(len(TREE_COLORS))])
                u = side * (beside + 0.4 * tall + rng.uniform(0, 8))
                things.append(Thing("tree", u, z, 0.7 * tall, tall, color, (slot, side)))
            elif rng.random() < 0.6:
                wide = rng.uniform(6, 14)
                color = tint(rng, WALL_COLORS[rng.integers(len(WALL_COLORS))])
                u = side * (beside + wide / 2 + rng.uniform(1, 9))
                things.append(Thing("wall", u, z, wide, rng.uniform(4, 14), color, (slot, side)))
    lane = 2 * drive.half_width_m / drive.lanes
    for number in range(drive.lanes):
        rng = np.random.default_rng([drive.seed, number, 2])
        speed = drive.speed_mps * rng.uniform(0.6, 1.3) * (1 if number >= drive.lanes / 2 else -1)
        for order in range(rng.poisson(drive.traffic)):
            start = rng.uniform(5, 105)
            # A vehicle that leaves the range of 5 to 105 metres is replaced by a new vehicle at the other end.
            lap, z = divmod(start + (speed - drive.speed_mps) * (view.travel - 1000) / drive.speed_mps, 100)
            z += 5
            u = -drive.half_width_m + (number + 0.5) * lane + rng.uniform(-0.3, 0.3)
            color = VEHICLE_COLORS[rng.integers(len(VEHICLE_COLORS))]
            truck = rng.random() < 0.15
            identity = (number, order, int(lap))
            things.append(Thing("vehicle", u, z, 2.4 if truck else 1.8, 3.2 if truck else 1.5, color, identity))
    return things

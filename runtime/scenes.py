"""Procedural road scenes with exact labels: a seeded drive, drawn frame by frame.

A pinhole camera over a flat ground: a pixel `y` rows below the horizon sees the ground at `z = focal * height / y`
metres (Hartley & Zisserman, "Multiple View Geometry", ch. 8), so road, marks, shadows and verge are functions of the
ground position of each pixel, and what stands on the ground is painted over them from far to near.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.preprocess import Image

CLASSES = ("sky", "ground", "road", "vehicle")
SKY, GROUND, ROAD, VEHICLE = range(4)

Floats = NDArray[np.float32]

FAR_M = 220.0
"""The ground is drawn up to here, metres."""

VEHICLE_COLORS = ((40, 40, 45), (200, 200, 205), (60, 60, 170), (150, 90, 50), (120, 120, 120), (70, 130, 180))
TREE_COLORS = ((35, 75, 45), (30, 60, 30), (50, 95, 70), (45, 85, 95))
WALL_COLORS = ((110, 125, 145), (150, 155, 160), (90, 105, 150), (130, 140, 130))
VERGE_COLORS = ((60, 115, 85), (95, 120, 140), (120, 125, 125), (70, 90, 100))


@dataclass(frozen=True, slots=True)
class Drive:
    """Everything that one seed decides; distances in metres, angles in radians, colours BGR 0-255."""

    seed: int
    focal: float
    """In picture widths."""
    horizon: float
    """In picture heights from the top."""
    camera_m: float
    speed_mps: float
    half_width_m: float
    offset_m: float
    curvature: float
    """Of the road, 1/m, about which it swings."""
    swing: float
    lanes: int
    pavement_m: float
    asphalt: tuple[float, float, float]
    verge: tuple[float, float, float]
    sky: tuple[float, float, float]
    shadow: float
    """How dark shadows are: 0 none to 0.7."""
    visibility_m: float
    exposure: float
    night: bool
    rain: float
    noise: float
    traffic: float
    """Vehicles per 100 metres of a lane."""

    @classmethod
    def from_seed(cls, seed: int) -> Drive:
        """Draws the drive that `seed` names; the same on every machine."""
        rng = np.random.default_rng([seed, 0x0A111A])
        night = rng.random() < 0.15
        fog = rng.random() < 0.2
        grey = rng.uniform(60, 150)
        return cls(
            seed=seed,
            focal=rng.uniform(0.75, 1.15),
            horizon=rng.uniform(0.38, 0.52),
            camera_m=rng.uniform(1.1, 1.8),
            speed_mps=rng.uniform(6, 22),
            half_width_m=rng.uniform(3.0, 7.5),
            offset_m=rng.uniform(-1.8, 1.8),
            curvature=rng.normal(0, 0.004),
            swing=rng.uniform(0, 0.004),
            lanes=int(rng.integers(1, 4)),
            pavement_m=rng.choice([0.0, rng.uniform(1.2, 3.0)]),
            asphalt=_tint(rng, grey),
            verge=_tint(rng, VERGE_COLORS[rng.integers(len(VERGE_COLORS))]),
            sky=_tint(rng, (225, 200, 170) if not fog else (205, 205, 205)),
            shadow=rng.choice([0.0, rng.uniform(0.3, 0.7)]),
            visibility_m=rng.uniform(35, 120) if fog else rng.uniform(300, 900),
            exposure=rng.uniform(0.45, 0.8) if night else rng.uniform(0.7, 1.25),
            night=night,
            rain=rng.uniform(0.2, 1.0) if rng.random() < 0.2 else 0.0,
            noise=rng.uniform(1, 9),
            traffic=rng.uniform(0.5, 4.0),
        )


def render(seed: int, time_s: float = 0.0, size_hw: tuple[int, int] = (360, 640)) -> tuple[Image, NDArray[np.uint8]]:
    """Draws the drive `seed` as seen at `time_s`.

    Returns:
        The picture, `[H,W,3]` uint8 BGR, and its labels, `[H,W]` uint8 indices into `CLASSES`; both the caller's.
    """
    drive = Drive.from_seed(seed)
    height, width = size_hw
    view = _View(drive, time_s, height, width)
    picture, labels = _ground(view)
    for thing in sorted(_things(view), key=lambda thing: -thing.z):
        thing.paint(view, picture, labels)
    return _expose(view, picture), labels


class _View:
    """The camera at one moment: the ground position of every pixel below the horizon."""

    def __init__(self, drive: Drive, time_s: float, height: int, width: int) -> None:
        self.drive = drive
        self.height, self.width = height, width
        self.focal = drive.focal * width
        self.travel = 1000.0 + drive.speed_mps * time_s
        self.horizon = height * (drive.horizon + 0.004 * np.sin(2.1 * time_s))
        self.curvature = drive.curvature + drive.swing * np.sin(0.25 * time_s + drive.seed)
        self.offset = drive.offset_m + 0.3 * np.sin(0.4 * time_s)
        self.rng = np.random.default_rng([drive.seed, int(round(time_s * 1000)), 7])
        self.top = min(height - 1, int(self.horizon + self.focal * drive.camera_m / FAR_M) + 1)
        rows = np.arange(self.top, height, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(width, dtype=np.float32)[None, :] + 0.5
        self.z = (self.focal * drive.camera_m / (rows - self.horizon)).astype(np.float32)
        lateral = (columns - width / 2) * self.z / self.focal
        self.u = (lateral - self.centre(self.z)).astype(np.float32)
        """Metres to the right of the road's middle."""
        self.s = np.broadcast_to(self.z + np.float32(self.travel % 4096), self.u.shape).astype(np.float32)

    def centre(self, z: Floats | float) -> Floats | float:
        """Where the road's middle lies at distance `z`, metres to the right of the camera's axis."""
        return -self.offset + 0.5 * self.curvature * z * z

    def project(self, u: float, z: float, up: float) -> tuple[int, int]:
        """The pixel (column, row) of a point `u` right of the road's middle, `z` ahead and `up` above ground."""
        column = self.width / 2 + (u + self.centre(z)) * self.focal / z
        row = self.horizon + (self.drive.camera_m - up) * self.focal / z
        return int(np.clip(round(column), -20000, 20000)), int(np.clip(round(row), -20000, 20000))

    def haze(self, z: Floats | float) -> Floats | float:
        """How much of the light from distance `z` is the air's, 0-1 (Koschmieder's law)."""
        return 1 - np.exp(-3.0 * z / self.drive.visibility_m)


def _ground(view: _View) -> tuple[Floats, NDArray[np.uint8]]:
    drive = view.drive
    picture = np.empty((view.height, view.width, 3), np.float32)
    labels = np.full((view.height, view.width), SKY, np.uint8)
    _sky(view, picture[: view.top])
    beside = np.abs(view.u)
    road = beside < drive.half_width_m
    labels[view.top :] = np.where(road, ROAD, GROUND)

    color = np.empty((*view.u.shape, 3), np.float32)
    color[:] = drive.verge
    color *= 1 + 0.5 * _texture(view, 3.0)[..., None]
    if drive.pavement_m:
        paved = beside < drive.half_width_m + drive.pavement_m
        color[paved] = np.float32(drive.asphalt) * 0.3 + 110
        kerb = np.abs(beside - drive.half_width_m - 0.1) < 0.1
        color[kerb] = 170
    asphalt = np.float32(drive.asphalt) * (1 + 0.22 * _texture(view, 9.0)[..., None])
    asphalt *= 1 - 0.12 * np.cos(view.u * 2.2)[..., None] * (beside < 3)[..., None]
    color[road] = asphalt[road]
    _marks(view, color)
    if drive.shadow:
        shade = np.clip((_texture(view, 0.12) - 0.02) * 8, 0, 1)
        color *= 1 - drive.shadow * shade[..., None]
    haze = view.haze(view.z)[..., None]
    picture[view.top :] = color * (1 - haze) + np.float32(drive.sky) * haze
    return picture, labels


def _sky(view: _View, out: Floats) -> None:
    rows = np.linspace(1.0, 0.0, max(len(out), 1), dtype=np.float32)[: len(out), None, None]
    out[:] = np.float32(view.drive.sky) * (1 - 0.35 * rows) + np.float32((30, 8, 0)) * rows
    clouds = cv2.resize(_noise(view.drive.seed % 16)[:64, :128], (view.width, max(len(out), 1)))[: len(out)]
    out += 25 * clouds[..., None]


def _marks(view: _View, color: Floats) -> None:
    drive = view.drive
    paint = np.float32((225, 225, 225)) if drive.seed % 3 else np.float32((90, 190, 225))
    worn = 0.85 + 0.6 * _texture(view, 5.0)
    lane = 2 * drive.half_width_m / drive.lanes
    for line in range(drive.lanes + 1):
        at = -drive.half_width_m + line * lane
        edge = line in (0, drive.lanes)
        at = np.sign(at) * (abs(at) - 0.25) if edge else at
        on = np.abs(view.u - at) < 0.08 + 0.0006 * view.z
        if not edge:
            on &= (view.s % 9.0) < 3.5
        color[on] = (paint * worn[on][:, None]).clip(0, 255)


@dataclass(frozen=True, slots=True)
class _Thing:
    """A vehicle, tree or building: what it is, where its foot stands, how large it is (metres)."""

    kind: str
    u: float
    z: float
    width: float
    tall: float
    color: tuple[float, float, float]

    def paint(self, view: _View, picture: Floats, labels: NDArray[np.uint8]) -> None:
        left, foot = view.project(self.u - self.width / 2, self.z, 0.0)
        right, top = view.project(self.u + self.width / 2, self.z, self.tall)
        if right <= left or foot <= top or right < 0 or left >= view.width:
            return
        haze = float(view.haze(self.z))
        color = np.float32(self.color) * (1 - haze) + np.float32(view.drive.sky) * haze
        draw = {"vehicle": self._vehicle, "tree": self._tree, "wall": self._wall}[self.kind]
        draw(picture, labels, (left, top, right, foot), color)

    def _vehicle(self, picture: Floats, labels: NDArray[np.uint8], box: tuple[int, ...], color: Floats) -> None:
        left, top, right, foot = box
        wide, tall = right - left, foot - top
        ground = max(1, tall // 12)
        cv2.ellipse(picture, ((left + right) // 2, foot - ground), (wide * 6 // 10, ground), 0, 0, 360, (25, 25, 25), -1)
        body = [(left, top + tall // 3), (right, foot - ground)]
        cabin = np.array(
            [
                (left + wide // 10, top + tall // 3),
                (left + wide // 5, top),
                (right - wide // 5, top),
                (right - wide // 10, top + tall // 3),
            ]
        )
        shade = tuple(float(c) for c in color)
        for canvas, paint, glass in ((picture, shade, tuple(0.35 * c for c in shade)), (labels, VEHICLE, VEHICLE)):
            cv2.fillPoly(canvas, [cabin], glass)
            cv2.rectangle(canvas, *body, paint, -1)
            for wheel in (left, right - max(1, wide // 6)):
                corner = (wheel + max(1, wide // 6), foot)
                cv2.rectangle(canvas, (wheel, foot - tall // 5), corner, (20, 20, 20) if canvas is picture else VEHICLE, -1)
        lamp = max(1, tall // 12)
        for x in (left + lamp, right - 2 * lamp):
            cv2.rectangle(picture, (x, top + tall // 2), (x + lamp, top + tall // 2 + lamp), (40, 40, 230), -1)

    def _tree(self, picture: Floats, labels: NDArray[np.uint8], box: tuple[int, ...], color: Floats) -> None:
        left, top, right, foot = box
        middle = (left + right) // 2
        trunk = max(1, (right - left) // 12)
        crown = ((middle, top + (foot - top) * 2 // 5), ((right - left) // 2, max(1, (foot - top) * 2 // 5)))
        for canvas, bark, leaf in ((picture, tuple(0.5 * color + 20), tuple(color)), (labels, GROUND, GROUND)):
            cv2.rectangle(canvas, (middle - trunk, top), (middle + trunk, foot), _paint(bark), -1)
            cv2.ellipse(canvas, *crown, 0, 0, 360, _paint(leaf), -1)

    def _wall(self, picture: Floats, labels: NDArray[np.uint8], box: tuple[int, ...], color: Floats) -> None:
        left, top, right, foot = box
        cv2.rectangle(picture, (left, top), (right, foot), _paint(tuple(color)), -1)
        cv2.rectangle(labels, (left, top), (right, foot), GROUND, -1)
        step_x, step_y = max(3, (right - left) // 5), max(3, (foot - top) // 5)
        window = _paint(tuple(0.55 * color))
        for x in range(left + step_x // 3, right - step_x // 2, step_x):
            for y in range(top + step_y // 3, foot - step_y, step_y):
                cv2.rectangle(picture, (x, y), (x + step_x // 2, y + step_y // 2), window, -1)


def _things(view: _View) -> list[_Thing]:
    """What stands near the camera now; each stands at a fixed place of the drive, or moves along its lane."""
    drive = view.drive
    things: list[_Thing] = []
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
                color = _tint(rng, TREE_COLORS[rng.integers(len(TREE_COLORS))])
                u = side * (beside + 0.4 * tall + rng.uniform(0, 8))
                things.append(_Thing("tree", u, z, 0.7 * tall, tall, color))
            elif rng.random() < 0.6:
                wide = rng.uniform(6, 14)
                color = _tint(rng, WALL_COLORS[rng.integers(len(WALL_COLORS))])
                u = side * (beside + wide / 2 + rng.uniform(1, 9))
                things.append(_Thing("wall", u, z, wide, rng.uniform(4, 14), color))
    lane = 2 * drive.half_width_m / drive.lanes
    for number in range(drive.lanes):
        rng = np.random.default_rng([drive.seed, number, 2])
        speed = drive.speed_mps * rng.uniform(0.6, 1.3) * (1 if number >= drive.lanes / 2 else -1)
        for _ in range(rng.poisson(drive.traffic)):
            start = rng.uniform(5, 105)
            z = (start + (speed - drive.speed_mps) * (view.travel - 1000) / drive.speed_mps) % 100 + 5
            u = -drive.half_width_m + (number + 0.5) * lane + rng.uniform(-0.3, 0.3)
            color = VEHICLE_COLORS[rng.integers(len(VEHICLE_COLORS))]
            truck = rng.random() < 0.15
            things.append(_Thing("vehicle", u, z, 2.4 if truck else 1.8, 3.2 if truck else 1.5, color))
    return things


def _expose(view: _View, picture: Floats) -> Image:
    """Light, rain, lens and sensor: linear float picture to what a camera would have stored."""
    drive = view.drive
    if drive.night:
        rows, columns = np.mgrid[0 : view.height, 0 : view.width].astype(np.float32)
        beam = np.exp(-(((columns / view.width - 0.5) / 0.32) ** 2) - ((rows / view.height - 0.75) / 0.25) ** 2)
        picture *= (0.45 + 1.4 * beam)[..., None] * np.float32((1.0, 0.95, 0.85))
    picture *= drive.exposure
    if drive.rain:
        _rain(view, picture)
    blur = 1 + 2 * int(0.002 * view.width * view.rng.uniform(0, 1))
    if blur > 1:
        picture = cv2.GaussianBlur(picture, (blur, blur), 0)
    picture += drive.noise * view.rng.standard_normal(picture.shape[:2], np.float32)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def _rain(view: _View, picture: Floats) -> None:
    veil = np.zeros(picture.shape[:2], np.float32)
    for _ in range(int(250 * view.drive.rain)):
        x, y = int(view.rng.integers(view.width)), int(view.rng.integers(view.height))
        length = int(view.height * view.rng.uniform(0.02, 0.07))
        cv2.line(veil, (x, y), (x + length // 5, y + length), float(view.rng.uniform(0.15, 0.4)), 1)
    picture += veil[..., None] * (np.float32(220) - picture)


def _texture(view: _View, per_metre: float) -> Floats:
    """Noise about 0 that lies on the ground, `[rows,W]`, with `per_metre` grains to the metre."""
    noise = _noise(view.drive.seed % 16)
    size = len(noise)
    across = (view.u * per_metre * 2 + size / 2) % size
    along = (view.s * per_metre) % size
    values = cv2.remap(noise, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    # Far away a pixel covers many grains: fade to their mean instead of letting them flicker.
    return values * np.minimum(1, view.focal / (view.z * view.z * per_metre * 2)).astype(np.float32)


@lru_cache(maxsize=16)
def _noise(seed: int) -> Floats:
    """A tile of smooth noise, `[256,256]` float32, mean 0, standard deviation about 0.3; read only."""
    rng = np.random.default_rng([seed, 3])
    tile = sum(
        cv2.resize(rng.standard_normal((cells, cells)).astype(np.float32), (256, 256), interpolation=cv2.INTER_CUBIC)
        for cells in (16, 64, 256)
    )
    noise = np.asarray(0.3 * tile / tile.std(), np.float32)
    noise.setflags(write=False)
    return noise


def _tint(rng: np.random.Generator, color: float | tuple[int, ...]) -> tuple[float, float, float]:
    b, g, r = np.float64(color) * rng.uniform(0.85, 1.15) + rng.normal(0, 5, 3)
    return float(b), float(g), float(r)


def _paint(color: object) -> object:
    """A colour as OpenCV's drawing takes it: a tuple of floats, or a label."""
    return tuple(float(c) for c in color) if isinstance(color, tuple) else color

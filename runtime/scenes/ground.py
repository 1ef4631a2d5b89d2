"""Draw the camera's view of the sky and of flat ground with road, lane markings, shadows and verge."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from orilla.runtime.scenes.drive import Drive

CLASSES = ("sky", "ground", "road", "vehicle")
SKY, GROUND, ROAD, VEHICLE = range(4)

Floats = NDArray[np.float32]
Labels = NDArray[np.uint8]

FAR_M = 220.0
"""Distance in metres up to which the ground is drawn."""


class Pose(NamedTuple):
    """Position and direction of the camera on the road."""

    offset_m: float
    """Distance of the camera from the centre of the road in metres, positive to the right."""
    heading_rad: float
    """Angle between the axis of the camera and the road in radians, positive to the right."""


def curvature_at(drive: Drive, time_s: float) -> float:
    """Return the curvature of the road in 1/m at a time of the drive, positive to the right."""
    return float(drive.curvature + drive.swing * np.sin(0.25 * time_s + drive.seed))


class View:
    """The view of the camera at one moment: the position on the ground for every pixel below the horizon.

    Args:
        drive: The drive.
        time_s: Time since the start of the drive in seconds.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        pose: Where the camera is. If None, it looks along the road and swings slowly from side to side.
    """

    def __init__(self, drive: Drive, time_s: float, height: int, width: int, pose: Pose | None = None) -> None:
        self.drive = drive
        self.height, self.width = height, width
        self.focal = drive.focal * width
        self.travel = 1000.0 + drive.speed_mps * time_s
        self.horizon = height * (drive.horizon + 0.004 * np.sin(2.1 * time_s))
        self.curvature = curvature_at(drive, time_s)
        self.pose = pose or Pose(float(drive.offset_m + 0.3 * np.sin(0.4 * time_s)), 0.0)
        self.rng = np.random.default_rng([drive.seed, round(time_s * 1000), 7])
        self.top = min(height - 1, int(self.horizon + self.focal * drive.camera_m / FAR_M) + 1)
        rows = np.arange(self.top, height, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(width, dtype=np.float32)[None, :] + 0.5
        self.z = (self.focal * drive.camera_m / (rows - self.horizon)).astype(np.float32)
        lateral = (columns - width / 2) * self.z / self.focal
        self.u = (lateral - self.centre(self.z)).astype(np.float32)
        """Distance of each pixel from the centre of the road in metres, positive to the right."""
        self.s = np.broadcast_to(self.z + np.float32(self.travel % 4096), self.u.shape).astype(np.float32)

    def centre(self, z: Any) -> Any:
        """Return the lateral offset of the road's centre from the camera's axis at the distances `z`.

        All values are in metres. An offset to the right is positive.
        """
        return 0.5 * self.curvature * z * z - self.pose.offset_m - self.pose.heading_rad * z

    def project(self, u: float, z: float, up: float) -> tuple[int, int]:
        """Return the column and row of a point in the image.

        Args:
            u: Distance of the point from the centre of the road in metres, positive to the right.
            z: Distance of the point from the camera in metres.
            up: Height of the point above the ground in metres.
        """
        column = self.width / 2 + (u + self.centre(z)) * self.focal / z
        row = self.horizon + (self.drive.camera_m - up) * self.focal / z
        return int(np.clip(round(column), -20000, 20000)), int(np.clip(round(row), -20000, 20000))

    def haze(self, z: Any) -> Any:
        """Return the share of haze (0–1) in the colour of objects at the distances `z` in metres.

        Source: Koschmieder's law.
        """
        return 1 - np.exp(-3.0 / self.drive.visibility_m * z)


def draw_ground(view: View) -> tuple[Floats, Labels]:
    """Return an image of ground and sky in linear light, and the labels of its pixels."""
    drive = view.drive
    image = np.empty((view.height, view.width, 3), np.float32)
    labels = np.full((view.height, view.width), SKY, np.uint8)
    _sky(view, image[: view.top])
    beside = np.abs(view.u)
    road = beside < drive.half_width_m
    labels[view.top :] = np.where(road, ROAD, GROUND)

    # Use one plane per colour channel, because operations along a last axis of three values are slow.
    color = np.empty((3, *view.u.shape), np.float32)
    color[:] = _planes(drive.verge)
    color *= 1 + 0.5 * _texture(view, 3.0)
    if drive.pavement_m:
        paved = beside < drive.half_width_m + drive.pavement_m
        np.copyto(color, _planes(drive.asphalt) * np.float32(0.3) + 110, where=paved)
        kerb = np.abs(beside - drive.half_width_m - 0.1) < 0.1
        np.copyto(color, 170, where=kerb)
    asphalt = _planes(drive.asphalt) * (1 + 0.22 * _texture(view, 9.0))
    asphalt *= 1 - 0.12 * np.cos(view.u * 2.2) * (beside < 3)
    np.copyto(color, asphalt, where=road)
    _marks(view, color)
    if drive.shadow:
        shade = np.clip((_texture(view, 0.12) - 0.02) * 8, 0, 1)
        color *= 1 - drive.shadow * shade
    haze = view.haze(view.z)
    color *= 1 - haze
    color += _planes(drive.sky) * haze
    image[view.top :] = cv2.merge(list(color))
    return image, labels


def _sky(view: View, out: Floats) -> None:
    rows = np.linspace(1.0, 0.0, max(len(out), 1), dtype=np.float32)[: len(out), None, None]
    out[:] = np.asarray(view.drive.sky, np.float32) * (1 - 0.35 * rows) + np.asarray((30, 8, 0), np.float32) * rows
    soft = cv2.GaussianBlur(_noise(view.drive.seed % 16)[:64, :128], (0, 0), 3)
    clouds = cv2.resize(soft, (view.width, max(len(out), 1)), interpolation=cv2.INTER_CUBIC)[: len(out)]
    out += 120 * np.maximum(clouds, 0)[..., None]


def _marks(view: View, color: Floats) -> None:
    """Paint the lane markings on the colour planes `[3,rows,W]`."""
    drive = view.drive
    paint = np.asarray((225, 225, 225), np.float32) if drive.seed % 3 else np.asarray((90, 190, 225), np.float32)
    worn = 0.85 + 0.6 * _texture(view, 5.0)
    lane = 2 * drive.half_width_m / drive.lanes
    dashes = (view.s[:, :1] % 9.0) < 3.5
    for line in range(drive.lanes + 1):
        at = -drive.half_width_m + line * lane
        edge = line in (0, drive.lanes)
        at = np.sign(at) * (abs(at) - 0.25) if edge else at
        on = np.abs(view.u - at) < 0.08 + 0.0006 * view.z
        if not edge:
            on &= dashes
        color[:, on] = (paint[:, None] * worn[on]).clip(0, 255)


def _planes(color: ArrayLike) -> Floats:
    """Return a colour as an array `[3,1,1]`."""
    return np.asarray(color, np.float32)[:, None, None]


def _texture(view: View, per_metre: float) -> Floats:
    """Return noise `[rows,W]` around 0 that is fixed to the ground, with `per_metre` grains per metre."""
    noise = _noise(view.drive.seed % 16)
    size = len(noise)
    across = _wrapped(view.u * per_metre * 2 + size / 2, size)
    along = _wrapped(view.s * per_metre, size)
    values: Floats = cv2.remap(noise, across, along, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    # Distant pixels cover many grains. The noise fades to 0 there, because it would flicker.
    faded: Floats = values * np.minimum(1, view.focal / (view.z * view.z * per_metre * 2)).astype(np.float32)
    return faded


def _wrapped(values: Floats, size: int) -> Floats:
    """Return `values % size`. `size` must be a power of two, which allows a much faster computation."""
    whole: Floats = np.floor(values * np.float32(1 / size))
    whole *= np.float32(size)
    return np.subtract(values, whole, out=whole)


@lru_cache(maxsize=16)
def _noise(seed: int) -> Floats:
    """Return smooth noise with mean 0 and a standard deviation of about 0.3, as a read-only array `[256,256]`."""
    rng = np.random.default_rng([seed, 3])
    tile = sum(
        cv2.resize(rng.standard_normal((cells, cells)).astype(np.float32), (256, 256), interpolation=cv2.INTER_CUBIC)
        for cells in (16, 64, 256)
    )
    noise = np.asarray(0.3 * tile / tile.std(), np.float32)
    noise.setflags(write=False)
    return noise

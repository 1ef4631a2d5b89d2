"""Compute from a mask where a robot can drive: the free corridor ahead, and positions on the ground in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError

ROWS = (0.55, 0.9)
"""Upper and lower limit of the rows that `steer` uses by default, as shares of the frame's height."""

STEPS = 120
"""Number of rows in which the edges of the corridor are determined."""

MIN_SHARE = 0.25
"""Minimum share of the rows that the corridor must cover. If it covers fewer, `steer` returns None."""

TRAPEZOID = ((0.3, 0.95), (0.7, 0.95), (0.58, 0.65), (0.42, 0.65))
"""Area ahead of the robot: corners as shares of the frame's width and height."""


@dataclass(frozen=True, slots=True, eq=False)
class Corridor:
    """The connected part of a mask that begins at the lower edge of the frame, described by its edges in each row.

    In each row, the corridor continues with the part of the mask that overlaps most with the corridor in the row below.
    """

    frame_hw: tuple[int, int]
    """Height and width of the frame in pixels."""
    y: NDArray[np.int64]
    """Rows in pixels, `[R]`, from the lowest to the highest."""
    left: NDArray[np.int64]
    """First column of the corridor in each row, `[R]`, in pixels."""
    right: NDArray[np.int64]
    """Column after the last column of the corridor in each row, `[R]`, in pixels."""

    @property
    def horizon(self) -> float:
        """Return the row in which the corridor ends, as a share of the frame's height, 0–1."""
        return float(self.y[-1]) / self.frame_hw[0]

    def polygon(self) -> NDArray[np.int64]:
        """Return the outline, `[2R,2]` as x and y in pixels: up along the left edge, then down along the right edge."""
        left = np.stack([self.left, self.y], axis=1)
        return np.concatenate([left, np.stack([self.right, self.y], axis=1)[::-1]])

    def steer(self, rows: tuple[float, float] = ROWS) -> float | None:
        """Return the direction to the middle of the corridor, from -1 (left edge of the frame) to 1 (right edge).

        Args:
            rows: Upper and lower limit of the rows over which the mean is computed, as shares of the frame's height.

        Returns:
            The direction, or None if the corridor reaches less than a quarter of these rows.

        Raises:
            ConfigError: The rows are not between 0 and 1, or the upper limit is not first.
        """
        top, bottom = rows
        if not 0 <= top < bottom <= 1:
            msg = f"rows={rows}: expected two shares of the height from 0 to 1, with the upper limit first"
            raise ConfigError(msg)
        height, width = self.frame_hw
        inside = (self.y >= top * height) & (self.y <= bottom * height)
        if np.count_nonzero(inside) < MIN_SHARE * (bottom - top) * STEPS:
            return None
        middle = float(np.mean(self.left[inside] + self.right[inside])) / 2
        return min(1.0, max(-1.0, 2 * middle / width - 1))


def corridor(mask: NDArray[np.bool_]) -> Corridor | None:
    """Return the corridor in a mask, or None if the mask does not reach the lowest rows of the frame.

    Args:
        mask: Pixels that are free to drive on, `[H,W]` bool.
    """
    height, width = mask.shape
    step = max(1, height // STEPS)
    y: list[int] = []
    left: list[int] = []
    right: list[int] = []
    before = (0, width)
    for row in range(height - 1, -1, -step):
        chosen = _overlapping(mask[row], before)
        if chosen is None:
            if y:
                break
            if row < 0.9 * height:  # The lowest rows may show the robot itself.
                return None
            continue
        y.append(row)
        left.append(chosen[0])
        right.append(chosen[1])
        before = chosen
    return Corridor((height, width), np.array(y), np.array(left), np.array(right)) if y else None


def _overlapping(row: NDArray[np.bool_], before: tuple[int, int]) -> tuple[int, int] | None:
    """Return the first column, and the column after the last, of the run of True that overlaps most with `before`."""
    edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return None
    overlap = np.minimum(ends, before[1]) - np.maximum(starts, before[0])
    best = int(np.argmax(overlap))
    return (int(starts[best]), int(ends[best])) if overlap[best] > 0 else None


def area_ahead(mask: NDArray[np.bool_], corners: tuple[tuple[float, float], ...] = TRAPEZOID) -> float:
    """Return the share of an area ahead of the robot that belongs to the mask, 0–1.

    Args:
        mask: Pixels that are free to drive on, `[H,W]` bool.
        corners: Corners of a polygon as shares of the width and the height.
    """
    import cv2

    height, width = mask.shape
    area = np.zeros((height, width), np.uint8)
    cv2.fillPoly(area, [np.round(np.array(corners) * (width, height)).astype(np.int32)], 1)
    inside = area.astype(np.bool_)
    return float(np.count_nonzero(mask & inside)) / max(1, int(np.count_nonzero(inside)))


@dataclass(frozen=True, slots=True)
class GroundPlane:
    """Converts pixels into positions on flat ground, for a camera without lens distortion and without roll.

    Source of the formulas: the pinhole camera, rotated downwards by its pitch (Hartley and Zisserman, "Multiple View
    Geometry in Computer Vision", chapter 6).
    """

    frame_hw: tuple[int, int]
    """Height and width of the frame in pixels."""
    height_m: float
    """Height of the camera above the ground in metres."""
    pitch_deg: float
    """Angle by which the camera looks down from the horizontal, in degrees."""
    focal_px: float
    """Focal length in pixels."""
    centre_xy: tuple[float, float] | None = None
    """Principal point in pixels. If None, it is the centre of the frame."""

    @classmethod
    def from_fov(cls, frame_hw: tuple[int, int], height_m: float, pitch_deg: float, fov_deg: float) -> GroundPlane:
        """Return the plane for a camera with a horizontal field of view in degrees.

        Raises:
            ConfigError: The height, pitch or field of view is out of range.
        """
        if not (height_m > 0 and 0 < fov_deg < 180 and -90 < pitch_deg < 90):
            msg = f"height_m={height_m}, pitch_deg={pitch_deg}, fov_deg={fov_deg}: out of range"
            raise ConfigError(msg)
        return cls(frame_hw, height_m, pitch_deg, frame_hw[1] / 2 / math.tan(math.radians(fov_deg) / 2))

    def to_ground(self, points_xy: NDArray[np.floating] | list[tuple[float, float]]) -> NDArray[np.float64]:
        """Return the positions of pixels on the ground, `[N,2]`, in metres ahead of the camera and to its right.

        The result is NaN for pixels at or above the horizon.

        Args:
            points_xy: Positions in the frame in pixels, `[N,2]` as x and y.
        """
        points = np.asarray(points_xy, np.float64).reshape(-1, 2)
        height, width = self.frame_hw
        centre = self.centre_xy or (width / 2, height / 2)
        across, down = ((points - centre) / self.focal_px).T
        cosine, sine = math.cos(math.radians(self.pitch_deg)), math.sin(math.radians(self.pitch_deg))
        below, ahead = down * cosine + sine, cosine - down * sine
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = np.where(below > 0, self.height_m / below, np.nan)
        return np.stack([distance * ahead, distance * across], axis=1)

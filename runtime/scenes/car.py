"""A simulated car on the road of a drive: its pose, its motion, and the exact steering that keeps the lane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from orilla.runtime.scenes.drive import Drive
from orilla.runtime.scenes.ground import Pose, View, curvature_at

WHEELBASE_M = 2.7
"""Distance between the axles in metres."""
CAR_WIDTH_M = 1.8
LANE_M, LANE_WIDTH_M = 1.75, 3.5
"""Distance of the right lane's centre from the road's centre, and width of the lane, in metres."""
DEPARTURE_M = (LANE_WIDTH_M - CAR_WIDTH_M) / 2
"""Distance of the car from the lane's centre at which a wheel leaves the lane, in metres."""

LOOKAHEAD_M = 12.0
"""Distance in metres to the point on the lane's centre at which `exact_steering_deg` aims."""
MAX_STEERING_DEG = 8.0
"""Maximum steering angle of the front wheels to each side, in degrees."""

SPEED_MPS = 12.0


def lane_drive(seed: int) -> Drive:
    """Return the drive of a car with a fixed camera on a road with two lanes and little traffic.

    Road, light and weather depend on the seed, as in `Drive.from_seed`.
    """
    return replace(
        Drive.from_seed(seed),
        focal=0.9,
        horizon=0.42,
        camera_m=1.4,
        speed_mps=SPEED_MPS,
        lanes=2,
        half_width_m=LANE_WIDTH_M,
        traffic=0.3,
    )


@dataclass
class Car:
    """A car that drives at constant speed. Its motion is that of the kinematic bicycle model.

    Source: Rajamani, "Vehicle Dynamics and Control" (2006), section 2.2, without slip.
    """

    drive: Drive
    pose: Pose = field(default_factory=lambda: Pose(LANE_M, 0.0))
    time_s: float = 0.0

    @property
    def lane_offset_m(self) -> float:
        """Return the distance of the car from the centre of its lane in metres, positive to the right."""
        return self.pose.offset_m - LANE_M

    def view(self, size_hw: tuple[int, int]) -> View:
        """Return the view of the camera for an image of this height and width in pixels."""
        return View(self.drive, self.time_s, *size_hw, self.pose)

    def exact_steering_deg(self) -> float:
        """Return the steering angle in degrees that leads to the lane's centre at `LOOKAHEAD_M`, positive to the right.

        Source: Coulter, "Implementation of the Pure Pursuit Path Tracking Algorithm" (1992).
        """
        ahead = LOOKAHEAD_M
        road = 0.5 * curvature_at(self.drive, self.time_s) * ahead**2
        aside = road - self.lane_offset_m - self.pose.heading_rad * ahead
        angle = math.degrees(math.atan(WHEELBASE_M * 2 * aside / ahead**2))
        return max(-MAX_STEERING_DEG, min(MAX_STEERING_DEG, angle))

    def advance(self, steering_deg: float, seconds: float) -> None:
        """Move the car for a short time with a steering angle in degrees, positive to the right."""
        angle = math.radians(max(-MAX_STEERING_DEG, min(MAX_STEERING_DEG, steering_deg)))
        way = self.drive.speed_mps * seconds
        turn = math.tan(angle) / WHEELBASE_M - curvature_at(self.drive, self.time_s)
        heading = self.pose.heading_rad + way * turn
        middle = (self.pose.heading_rad + heading) / 2
        self.pose = Pose(self.pose.offset_m + way * math.sin(middle), heading)
        self.time_s += seconds


class LaneFigures(NamedTuple):
    """Figures that describe how well a car kept its lane."""

    rms_m: float
    """Root mean square of the distance from the lane's centre in metres."""
    max_m: float
    departures: int
    """Number of times that a wheel left the lane."""


def lane_figures(offsets_m: Sequence[float]) -> LaneFigures:
    """Return figures that describe how well a car kept its lane.

    Args:
        offsets_m: Distances from the lane's centre in metres, in the order of time.
    """
    aside = np.abs(np.asarray(offsets_m, np.float64))
    outside = aside > DEPARTURE_M
    departures = int(outside[0]) + int(np.count_nonzero(outside[1:] & ~outside[:-1]))
    return LaneFigures(float(np.sqrt(np.mean(aside**2))), float(aside.max()), departures)

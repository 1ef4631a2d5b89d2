"""The motion of tracked boxes: a constant-velocity Kalman filter for the centre and the size of each box.

The noise of the four coordinates is independent. The filter of a box therefore consists of four filters with two states
each, position and velocity, which need no matrix inversion. The noise is proportional to the size of the box, as in
Wojke et al., "Simple Online and Realtime Tracking with a Deep Association Metric" (arXiv 1703.07402), and there are
separate filters for width and height, as in Aharon et al., "BoT-SORT" (arXiv 2206.14651). Time is in seconds, not in
frames: the process noise is a white-noise acceleration in continuous time (Bar-Shalom et al., "Estimation with
Applications to Tracking and Navigation", 2001, section 6.2.2), so one prediction over a long gap equals several
predictions over parts of the gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

Floats = NDArray[np.float64]

MEASUREMENT_STD = 0.05
"""Standard deviation of a detected edge, as a share of the box's side. Source: Wojke et al., 1/20."""
START_SPEED_STD = 2.0
"""Standard deviation of a new object's speed, in sides per second. Source: Wojke et al., 10/160 per frame at 30 Hz."""
ACCELERATION = 3.0
"""Spectral density of the acceleration, in squared sides per cubic second. It is three times the value of Wojke et al.
(1/160 of a side per frame at 30 Hz), so that turning objects keep their track IDs even if frames are dropped."""
MIN_SIDE = 1e-6
"""Smallest side of a predicted box, as a fraction of the frame."""


class Motion:
    """Positions and velocities of T boxes, with variances. The coordinates are centre x, centre y, width and height."""

    __slots__ = ("covariance", "position", "speed", "speed_variance", "variance")

    def __init__(self, measured: Floats) -> None:
        """Create T boxes at measured coordinates, `[T,4]`, with zero velocity."""
        side = sides(measured)
        self.position = measured
        """Coordinates, `[T,4]`."""
        self.speed = np.zeros_like(measured)
        """Change of the coordinates per second, `[T,4]`."""
        self.variance = (MEASUREMENT_STD * side) ** 2
        self.covariance = np.zeros_like(measured)
        """Covariance of position and speed, `[T,4]`."""
        self.speed_variance = (START_SPEED_STD * side) ** 2

    def __len__(self) -> int:
        return len(self.position)

    def take(self, rows: NDArray[np.bool_]) -> None:
        """Keep only the boxes for which a mask `[T]` is True."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name)[rows])

    def extend(self, other: Self) -> None:
        """Append the boxes of another `Motion`."""
        for name in self.__slots__:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(other, name)]))

    def predict(self, seconds: float) -> None:
        """Predict all boxes for a time `seconds` later."""
        density = ACCELERATION * sides(self.position) ** 2
        self.position = self.position + seconds * self.speed
        self.position[:, 2:] = np.maximum(self.position[:, 2:], MIN_SIDE)
        self.variance = (
            self.variance
            + 2 * seconds * self.covariance
            + seconds**2 * self.speed_variance
            + density * (seconds**3 / 3)
        )
        self.covariance = self.covariance + seconds * self.speed_variance + density * (seconds**2 / 2)
        self.speed_variance = self.speed_variance + density * seconds

    def correct(self, rows: NDArray[np.intp], measured: Floats) -> None:
        """Correct the boxes in `rows` with measured coordinates, `[len(rows),4]`."""
        variance, covariance = self.variance[rows], self.covariance[rows]
        total = variance + (MEASUREMENT_STD * sides(measured)) ** 2
        gain, speed_gain = variance / total, covariance / total
        difference = measured - self.position[rows]
        self.position[rows] += gain * difference
        self.speed[rows] += speed_gain * difference
        self.variance[rows] = (1 - gain) * variance
        self.covariance[rows] = (1 - gain) * covariance
        self.speed_variance[rows] -= speed_gain * covariance

    def keep_size(self, rows: NDArray[np.bool_]) -> None:
        """Set the velocity of width and height to zero for boxes that were not found.

        Otherwise, predicted boxes could grow without limit.
        """
        self.speed[rows, 2:] = 0

    def spread(self, rows: NDArray[np.intp]) -> Floats:
        """Return the standard deviation of the centres in x and y, `[len(rows),2]`."""
        deviation: Floats = np.sqrt(self.variance[rows, :2])
        return deviation

    def boxes_xyxy(self) -> Floats:
        """Return left, top, right and bottom edge, `[T,4]`."""
        half = self.position[:, 2:] / 2
        return np.concatenate([self.position[:, :2] - half, self.position[:, :2] + half], axis=1)


def coordinates(boxes_xyxy: Floats) -> Floats:
    """Return centre x, centre y, width and height of boxes, `[N,4]`."""
    first, last = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    return np.concatenate([(first + last) / 2, np.maximum(last - first, MIN_SIDE)], axis=1)


def sides(position: Floats) -> Floats:
    """Return the side of the box to which each coordinate refers, `[N,4]`: width, height, width and height."""
    return np.concatenate([position[:, 2:], position[:, 2:]], axis=1)

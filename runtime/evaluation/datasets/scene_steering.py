"""The embedded data set of images from a camera in a car, with the exact steering that keeps the lane.

The car has a random position in its lane and a random angle, so that a network also learns to steer back to the centre.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets.dataset import MeasuredImage, require_split
from orilla.runtime.evaluation.datasets.scenes import Scenes, seed_of
from orilla.runtime.scenes.car import LANE_M, MAX_STEERING_DEG, Car, lane_drive
from orilla.runtime.scenes.ground import Pose
from orilla.runtime.scenes.render import render_view
from orilla.runtime.tasks.decoding import Decoding

MAX_OFFSET_M, MAX_HEADING_RAD = 1.3, math.radians(4)
"""Largest distance in metres from the lane's centre, and largest angle in radians between car and road."""


class SceneSteering(Scenes):
    """Images from a car's camera, with the steering angle and the distance of the car from the lane's centre."""

    source = Source("scene_steering", "Orilla's procedural road scenes from a car, with steering", "Apache-2.0")
    task = "regress"
    classes = ("steering", "offset")
    decoding = Decoding(
        units=("deg", "m"), ranges=((-MAX_STEERING_DEG, MAX_STEERING_DEG), (-MAX_OFFSET_M, MAX_OFFSET_M))
    )
    counts: ClassVar[Mapping[str, int]] = {"train": 3000, "val": 300}

    def __init__(self, seed: int = 0, size_hw: tuple[int, int] = (120, 160)) -> None:
        super().__init__(seed, size_hw)

    def load(self, split: str, index: int) -> MeasuredImage:
        """Load one sample."""
        car = self._car(split, index)
        image, _ = render_view(car.view(self.size_hw))
        return MeasuredImage(f"scene_{self._drive(split, index)}", image, _values(car))

    def values(self, split: str) -> NDArray[np.float64]:
        """Return the steering angle in degrees and the offset from the lane in metres of each sample, `[N,2]`."""
        return np.array([_values(self._car(split, index)) for index in range(len(self.names(split)))])

    def content(self, split: str, index: int) -> bytes:
        """Return the parameters that determine the sample, because rendering all samples would take minutes."""
        return f"scene_steering v1 {self.size_hw} drive {self._drive(split, index)}".encode()

    def _car(self, split: str, index: int) -> Car:
        """Return the car of a sample. The index of the drive determines its pose."""
        require_split(self, split)
        drive = self._drive(split, index)
        rng = np.random.default_rng([drive, 0xCA7])
        offset, heading = rng.uniform(-1, 1, 2) * (MAX_OFFSET_M, MAX_HEADING_RAD)
        return Car(lane_drive(drive), Pose(LANE_M + float(offset), float(heading)), float(rng.uniform(0, 30)))


def _values(car: Car) -> NDArray[np.float64]:
    return np.array([car.exact_steering_deg(), car.lane_offset_m])


def open_dataset(argument: str) -> SceneSteering:
    """Open `scene_steering` or `scene_steering:SEED`."""
    return SceneSteering(seed_of("scene_steering", argument))

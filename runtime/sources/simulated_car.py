"""Source for closed-loop tests: the camera of a simulated car, whose steering the answers control."""

from __future__ import annotations

import threading

from orilla.runtime.frame import Event, Frame
from orilla.runtime.scenes.car import Car
from orilla.runtime.scenes.render import render_view
from orilla.runtime.sources.source import SLICE_S, now_ns

RATE_HZ = 20.0
SIZE_HW = (120, 160)
"""Height and width of the images in pixels, which are the same as in the data set `scene_steering`."""


class SimulatedCar:
    """Delivers the images of a car's camera.

    After each frame, the simulation waits for a call of `steer`, however long it takes.

    Simulated time is therefore independent of the machine's speed, and a drive can be repeated exactly. The command
    line does not offer this source, because a program must call `steer`.

    Args:
        car: The car. Only this source may move it.
        frames: Number of frames of the drive.
        size_hw: Height and width of the images in pixels.
    """

    live = False

    def __init__(self, car: Car, frames: int, size_hw: tuple[int, int] = SIZE_HW) -> None:
        self.car = car
        self.rate_hz: float | None = RATE_HZ
        self.lane_offsets_m: list[float] = []
        """Distance of the car from the centre of its lane at each frame so far, positive to the right."""
        self._frames, self._size_hw = frames, size_hw
        self._steering_deg: float | None = None
        self._changed = threading.Condition()

    def steer(self, angle_deg: float) -> None:
        """Set the steering angle in degrees until the next frame, positive to the right.

        Any thread may call this method.
        """
        with self._changed:
            self._steering_deg = angle_deg
            self._changed.notify()

    def read(self) -> Frame | Event | None:
        """Move the car with the last steering angle, and return the next frame, or None at the end of the drive.

        If there is no new steering angle yet, return the event `waiting`.
        """
        index = len(self.lane_offsets_m)
        if index == self._frames:
            return None
        if index:
            with self._changed:
                if not self._changed.wait_for(lambda: self._steering_deg is not None, SLICE_S):
                    return Event("waiting", index, now_ns(), "no steering angle for the last frame yet")
                assert self._steering_deg is not None
                self.car.advance(self._steering_deg, 1 / RATE_HZ)
                self._steering_deg = None
        image, _ = render_view(self.car.view(self._size_hw))
        self.lane_offsets_m.append(self.car.lane_offset_m)
        return Frame(index, image, now_ns())

    def close(self) -> None:
        """Do nothing, because this source holds no resources."""

"""The simulated car: how it moves, what its camera sees, and the closed loop with a model."""

import math
from dataclasses import replace

import numpy as np
import pytest
from helpers.regressions import regression_bundle

import orilla.runtime
from orilla.runtime.frame import Event
from orilla.runtime.scenes.car import (
    DEPARTURE_M,
    LANE_M,
    MAX_STEERING_DEG,
    WHEELBASE_M,
    Car,
    lane_drive,
    lane_figures,
)
from orilla.runtime.scenes.ground import Pose
from orilla.runtime.sources.simulated_car import RATE_HZ, SimulatedCar


def straight_road(seed=3, curvature=0.0):
    return replace(lane_drive(seed), curvature=curvature, swing=0.0)


def test_the_car_moves_as_it_is_steered():
    car = Car(straight_road())
    car.advance(0.0, 0.5)
    assert (car.pose, car.time_s) == (Pose(LANE_M, 0.0), 0.5)
    car.advance(3.0, 0.5)
    assert car.pose.heading_rad == pytest.approx(6 * math.tan(math.radians(3)) / WHEELBASE_M)
    assert car.lane_offset_m > 0, "it moves to the right"
    turned = car.pose.heading_rad
    car.advance(90.0, 0.1)  # The angle exceeds the maximum steering angle.
    assert car.pose.heading_rad - turned == pytest.approx(1.2 * math.tan(math.radians(MAX_STEERING_DEG)) / WHEELBASE_M)


@pytest.mark.parametrize("curvature", [-0.01, 0.01])
def test_exact_steering_follows_a_curve(curvature):
    car = Car(straight_road(curvature=curvature))
    assert car.exact_steering_deg() == pytest.approx(math.degrees(math.atan(WHEELBASE_M * curvature)))
    for _ in range(200):
        car.advance(car.exact_steering_deg(), 1 / RATE_HZ)
    assert abs(car.lane_offset_m) < 0.01


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("offset", [-0.8, 0.8])
def test_exact_steering_returns_to_the_lane(seed, offset):
    car, offsets = Car(lane_drive(seed), Pose(LANE_M + offset, 0.0)), []
    for _ in range(400):
        car.advance(car.exact_steering_deg(), 1 / RATE_HZ)
        offsets.append(car.lane_offset_m)
    assert lane_figures(offsets).departures == 0
    assert np.abs(offsets[100:]).max() < 0.05


def test_the_camera_sees_the_lane_where_the_car_is():
    """The lane's centre is in the middle of the image, unless the car is off the centre or rotated."""
    drive = straight_road()

    def column(pose, distance_m):
        return Car(drive, pose).view((120, 160)).project(LANE_M, distance_m, 0.0)[0]

    assert column(Pose(LANE_M, 0.0), 10.0) == 80
    assert column(Pose(LANE_M + 1, 0.0), 10.0) == 80 - round(0.9 * 160 / 10)
    assert column(Pose(LANE_M, 0.1), 10.0) == column(Pose(LANE_M, 0.1), 40.0) == 80 - round(0.9 * 160 * 0.1)


def test_figures_of_a_drive():
    offsets = [0.0, DEPARTURE_M + 0.1, DEPARTURE_M + 0.2, 0.0, -1.5, 0.0]
    figures = lane_figures(offsets)
    assert figures.rms_m == pytest.approx(np.sqrt(np.mean(np.square(offsets))))
    assert (figures.max_m, figures.departures) == (1.5, 2)
    assert lane_figures([-2.0, 0.0]).departures == 1


def closed_loop(bundle, frames):
    road = SimulatedCar(Car(lane_drive(1)), frames, (40, 60))
    steered = []
    with orilla.runtime.open(bundle) as model:
        for tick in model.stream(road):
            assert tick.dropped == 0
            steered.append(tick.result["steering"])
            road.steer(steered[-1])
    return steered, road.lane_offsets_m


def test_a_model_steers_the_car_through_the_loop(tmp_path):
    """Each answer moves the car before the next frame, so that the same drive repeats exactly."""
    bundle = regression_bundle(tmp_path / "driver.orilla")
    steered, offsets = closed_loop(bundle, 30)
    assert len(steered) == len(offsets) == 30
    assert (steered, offsets) == closed_loop(bundle, 30)
    car = Car(lane_drive(1))
    for angle, offset in zip(steered, offsets, strict=True):
        assert car.lane_offset_m == offset
        car.advance(angle, 1 / RATE_HZ)


def test_without_an_answer_the_car_waits(tmp_path):
    road = SimulatedCar(Car(lane_drive(1)), 5, (40, 60))
    assert road.read().index == 0
    waiting = road.read()
    assert isinstance(waiting, Event)
    assert (waiting.kind, waiting.index) == ("waiting", 1)
    assert road.car.time_s == 0
    road.steer(0.0)
    assert road.read().index == 1


def test_a_drive_can_be_left_early(tmp_path):
    with orilla.runtime.open(regression_bundle(tmp_path / "driver.orilla")) as model:
        stream = model.stream(SimulatedCar(Car(lane_drive(1)), 1000, (40, 60)))
        assert next(stream).index == 0
        stream.close()  # The stream must end although nobody steers the car.
    assert list(stream) == []

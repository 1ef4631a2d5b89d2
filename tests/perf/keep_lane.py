"""Measure how well the variants of a bundle steer a simulated car, compared with exact steering.

    orilla train regress --data scene_steering --out runs/lane
    orilla export runs/lane --out lane.orilla
    python tests/perf/keep_lane.py lane.orilla            each variant on ten drives of 20 seconds
    python tests/perf/keep_lane.py lane.orilla --json     {"drives": 10, "drivers": {"exact": {"rms_m": …}, …}}

No drive is in the data set `scene_steering`. Each drive starts 0.6 m off the lane's centre, on alternating sides.
`rms_m` and `max_m` are distances from the centre after the first three seconds. The driver `exact` knows the position
of the car, and `straight` never steers. The model runs in the camera loop, and the simulation waits for each answer, so
the figures do not depend on the speed of the machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import orilla.runtime
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.model import Model
from orilla.runtime.scenes.car import LANE_M, Car, lane_drive, lane_figures
from orilla.runtime.scenes.ground import Pose
from orilla.runtime.sources.simulated_car import RATE_HZ, SimulatedCar

FIRST_SEED = 700_000_000
"""Seed of the first drive. The data set uses smaller seeds."""
START_M = 0.6
SETTLE_S = 3.0
"""Time in seconds that a driver has to return to the lane's centre. The distances are measured after this time."""

Driver = Callable[[SimulatedCar], None]


def by_model(model: Model) -> Driver:
    """Return a driver that steers by the answers of a model."""

    def drive(road: SimulatedCar) -> None:
        for tick in model.stream(road):
            road.steer(tick.result["steering"])  # type: ignore[index]

    return drive


def exactly(road: SimulatedCar) -> None:
    """Steer with the exact position of the car."""
    while road.read() is not None:
        road.steer(road.car.exact_steering_deg())


def straight(road: SimulatedCar) -> None:
    """Never steer."""
    while road.read() is not None:
        road.steer(0.0)


def measure(driver: Driver, drives: int, seconds: float) -> dict[str, float]:
    """Return the figures of a driver over all drives."""
    figures, settled = [], []
    for number in range(drives):
        start = Pose(LANE_M + START_M * (1 if number % 2 else -1), 0.0)
        road = SimulatedCar(Car(lane_drive(FIRST_SEED + number), start), round(seconds * RATE_HZ))
        driver(road)
        figures.append(lane_figures(road.lane_offsets_m))
        settled.append(lane_figures(road.lane_offsets_m[round(SETTLE_S * RATE_HZ) :] or road.lane_offsets_m))
    return {
        "rms_m": round(float(np.sqrt(np.mean([one.rms_m**2 for one in settled]))), 3),
        "max_m": round(max(one.max_m for one in settled), 3),
        "departures": sum(one.departures for one in figures),
        "drives_in_lane": sum(one.departures == 0 for one in figures),
    }


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--variants", help="names separated by commas (default: all)")
    parser.add_argument("--drives", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    names = [variant.name for variant in Bundle.open(arguments.bundle).manifest.variants]
    rows = {"exact": measure(exactly, arguments.drives, arguments.seconds)}
    rows["straight"] = measure(straight, arguments.drives, arguments.seconds)
    for name in arguments.variants.split(",") if arguments.variants else names:
        with orilla.runtime.open(arguments.bundle, variant=name) as model:
            rows[name] = measure(by_model(model), arguments.drives, arguments.seconds)
    if arguments.json:
        print(json.dumps({"drives": arguments.drives, "seconds": arguments.seconds, "drivers": rows}, indent=2))
        return 0
    for name, row in rows.items():
        in_lane = f"{row['drives_in_lane']} of {arguments.drives} drives in the lane, {row['departures']} departures"
        print(f"{name:<18} rms {row['rms_m']:7.3f} m, max {row['max_m']:7.3f} m, {in_lane}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

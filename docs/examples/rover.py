"""Drive a simulated rover along a road with the shipped road model, and show the effect of a queue of old frames.

    python rover.py [--seconds 15] [--queue 4] [--out FOLDER]

The camera of the rover shows a procedural road at 20 frames per second. The rover steers towards the middle of the road
mask, first by the newest frame, then by frames that waited in a queue. The program prints the distance from the middle
of the road, and writes a plot and a clip of the drive. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import orilla.runtime
from orilla.runtime.model import Model
from orilla.runtime.scenes.car import LANE_M, Car, lane_drive
from orilla.runtime.scenes.ground import Pose
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.simulated_car import RATE_HZ, SimulatedCar

SEED = 700_000_100
"""Seed of the drive."""

START_M = 1.0
"""Distance from the middle of the road at the start, in metres, positive to the right."""

GAIN_DEG = 22.0
"""Steering angle in degrees when the middle of the road is at the edge of the frame."""


def drive(model: Model, seconds: float, queue: int, clip: Path | None = None) -> list[float]:
    """Drive, and return the distance from the middle of the road at each frame in metres.

    Args:
        model: Segmentation model of the road.
        seconds: Duration of the drive.
        queue: Number of frames that wait between the camera and the steering.
        clip: Path of an annotated video of the drive. If None, none is written.
    """
    start = Pose(START_M, 0.0)
    rover = SimulatedCar(Car(lane_drive(SEED), start), round(seconds * RATE_HZ), (240, 320))
    sink = None if clip is None else sink_opener(f"video:{clip}?overwrite").open(Setup(RATE_HZ))
    waiting = deque([0.0] * queue)
    for tick in model.stream(rover):
        direction = tick.result.steer()
        waiting.append(0.0 if direction is None else GAIN_DEG * direction)
        rover.steer(waiting.popleft())
        if sink is not None:
            sink.write(tick)
    if sink is not None:
        sink.close()
    # The simulation measures from the middle of the right lane.
    return [offset_m + LANE_M for offset_m in rover.lane_offsets_m]


def plot(path: Path, drives: dict[str, list[float]]) -> None:
    """Plot the distance from the middle of the road over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    for name, offsets_m in drives.items():
        axes.plot(np.arange(len(offsets_m)) / RATE_HZ, offsets_m, label=name)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="time, s", ylabel="distance from the middle, m")
    axes.legend()
    figure.savefig(path, dpi=120)


def lines(drives: dict[str, list[float]]) -> Iterator[str]:
    """Yield one line of figures for each drive. The first three seconds, in which the rover settles, do not count."""
    for name, offsets_m in drives.items():
        settled = np.array(offsets_m[round(3 * RATE_HZ) :] or offsets_m)
        yield f"{name}: RMS {np.sqrt(np.mean(settled**2)):.2f} m, largest {np.abs(settled).max():.2f} m from the middle"


def main() -> None:
    """Drive twice, print the figures, and write the plot and the clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--queue", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with orilla.runtime.open("road") as model:
        drives = {
            "newest frame": drive(model, arguments.seconds, 0, arguments.out / "rover.mp4"),
            f"queue of {arguments.queue} frames": drive(model, arguments.seconds, arguments.queue),
        }
    plot(arguments.out / "rover.png", drives)
    for line in lines(drives):
        print(line)


if __name__ == "__main__":
    main()

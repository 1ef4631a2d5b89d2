"""The closed loop: a network learns to steer from images, and keeps the lane on roads that it has not seen."""

import pytest

import orilla.runtime
from orilla.export.export import ExportOptions, export
from orilla.runtime.scenes.car import LANE_M, Car, lane_drive, lane_figures
from orilla.runtime.scenes.ground import Pose
from orilla.runtime.sources.simulated_car import SimulatedCar
from orilla.train.options import TrainOptions
from orilla.train.train import train

SEEDS = (700_000_001, 700_000_002)
"""Seeds of drives that are not in the data set."""


@pytest.mark.slow
def test_a_network_learns_to_keep_the_lane(tmp_path):
    options = TrainOptions("regress", "scene_steering", epochs=12, samples=1500, augment=False)
    card = train(options, tmp_path / "run", command="")
    assert card.metrics["mae/steering"] < 1
    bundle = tmp_path / "lane.orilla"
    manifest = export(tmp_path / "run", bundle, ExportOptions("litert_fp32,litert_wi8_ai8", timing=False))
    assert {abs(variant.check.drop) < 0.5 for variant in manifest.variants} == {True}
    for variant in manifest.variants:
        with orilla.runtime.open(bundle, variant=variant.name) as model:
            for number, seed in enumerate(SEEDS):
                start = Pose(LANE_M + (0.6 if number % 2 else -0.6), 0.0)
                road = SimulatedCar(Car(lane_drive(seed), start), 300)
                for tick in model.stream(road):
                    road.steer(tick.result["steering"])
                figures = lane_figures(road.lane_offsets_m)
                assert figures.departures == 0, (variant.name, seed)
                assert lane_figures(road.lane_offsets_m[60:]).rms_m < 0.4, (variant.name, seed)

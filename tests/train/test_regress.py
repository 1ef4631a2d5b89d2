"""Training of regression models: the card, the run folder, the export, and errors for unsuitable data."""

import json

import msgspec
import numpy as np
import pytest
from helpers.datasets import image_table, tub_v2

import orilla.runtime
from orilla.devices.errors import ConfigError, DataError
from orilla.export.export import ExportOptions, export
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.card import Card
from orilla.runtime.bundle.run_folder import read_run
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.verify import verify
from orilla.train.data.combined import CombinedDataset
from orilla.train.data.splits import split
from orilla.train.options import TrainOptions
from orilla.train.train import train

SMALL = {"model": "regress", "input": (32, 48), "batch": 8, "epochs": 30, "learning_rate": 4e-3, "augment": False}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the path of a run folder with a network that has learned to find the bright column of an image."""
    folder = tmp_path_factory.mktemp("regress")
    image_table(folder / "recording")
    train(TrainOptions(data=str(folder / "recording"), **SMALL), folder / "run", command="orilla train regress")
    return folder / "run"


def test_it_learns_and_the_card_states_names_units_and_ranges(trained):
    card, run = read_run(trained)
    assert (card.task, card.labels) == ("regress", ("steering", "speed"))
    assert card.decoding.units == ("deg", "m/s")
    assert card.decoding.normalised
    assert card.decoding.ranges == open_dataset(run.data).decoding.ranges
    assert card.metrics["mae/steering"] < 4, "the steering is visible, the speed is not"
    assert card.metrics["closeness"] > 0.6
    assert {"samples.png", "curves.png", "index.html", "model.keras"} <= {path.name for path in trained.iterdir()}


def test_the_card_of_another_task_has_no_key_for_it():
    assert "decoding" not in json.loads(msgspec.json.encode(Card(*[None] * 19)))


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    """Return the path of a bundle with the trained network."""
    out = tmp_path_factory.mktemp("bundle") / "drive.orilla"
    recipes = "litert_fp32,litert_wi8_ai8,onnx_fp32"
    export(trained, out, ExportOptions(recipes=recipes, golden_count=2, timing=False))
    return out


def test_the_bundle_answers_in_units_in_every_precision(trained, bundle):
    card, run = read_run(trained)
    manifest = Bundle.open(bundle).manifest
    assert (manifest.decoding, manifest.labels) == (card.decoding, card.labels)
    assert manifest.report.truth == "labels"
    assert all(verdict.passed for verdict in verify(Bundle.open(bundle), manifest.variants))
    dataset = open_dataset(run.data)
    for variant in manifest.variants:
        assert abs(variant.check.drop) < 2
        assert variant.check.metrics["mae/steering"] == pytest.approx(manifest.report.metrics["mae/steering"], abs=0.6)
        with orilla.runtime.open(bundle, variant=variant.name) as model:
            errors = []
            for index in range(len(dataset.names("test"))):
                sample = dataset.load("test", index)
                result = model(sample.image).result
                errors.append(abs(result["steering"] - sample.values[0]))
            assert result.units == {"steering": "deg", "speed": "m/s"}
            assert np.mean(errors) == pytest.approx(card.metrics["mae/steering"], abs=0.6)


def test_verify_measures_the_errors_on_data(trained, bundle, capsys):
    assert main(["verify", str(bundle), "--data", read_run(trained)[1].data, "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["variants"][0]["metrics"]
    assert {"closeness", "mae/steering", "rmse/steering", "mae/speed", "rmse/speed"} <= set(metrics)


@pytest.mark.slow
def test_it_trains_from_tubs(tmp_path):
    tub_v2(tmp_path / "tub")
    card = train(TrainOptions(data=str(tmp_path / "tub"), **SMALL), tmp_path / "run", command="")
    assert card.labels == ("steering", "throttle")
    assert card.decoding == Decoding(ranges=((-1.0, 1.0), (-1.0, 1.0)), normalised=True)
    assert card.metrics["mae/steering"] < 0.3


def test_data_without_numbers_are_refused(animals, tmp_path):
    with pytest.raises(DataError, match=r"regress cannot be trained on .* \(task classify\): use images with numbers"):
        train(TrainOptions(data=str(animals), **SMALL), tmp_path / "run", command="")


def test_extra_data_must_have_the_same_units_and_widens_the_ranges(tmp_path):
    first = open_dataset(image_table(tmp_path / "a"))
    table = image_table(tmp_path / "b") / "numbers.csv"
    table.write_text(table.read_text().replace(",2.50\n", ",9.00\n", 1))
    joined = CombinedDataset(first, [open_dataset(tmp_path / "b")])
    assert joined.decoding.units == first.decoding.units
    assert joined.decoding.ranges[1] == (2.5, 9.0)
    assert len(joined.values("train")) == 2 * len(first.values("train"))
    table.write_text(table.read_text().replace("[deg]", "[rad]"))
    with pytest.raises(DataError, match=r"their units differ \(deg, m/s and rad, m/s\)"):
        CombinedDataset(first, [open_dataset(tmp_path / "b")])


def test_the_end_of_a_recording_is_held_out(tmp_path):
    dataset = open_dataset(image_table(tmp_path / "data"))
    splits = split(dataset, hold_out="0.25")
    places = [index for _, index in (*splits.train, *splits.choose)]
    assert places == list(range(len(places)))
    assert len(splits.choose) == round(0.25 * len(places))
    with pytest.raises(ConfigError, match=r"hold_out=0.999 selects \d+ of \d+ training samples"):
        split(dataset, hold_out="0.999")

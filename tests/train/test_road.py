"""Training of the road model: it learns, is reproducible, resumes after an interruption, and writes its card."""

import csv
import json
import math
import shutil

import cv2
import keras
import numpy as np
import pytest
from helpers import factories
from helpers.interrupt import InterruptAfter

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.run_folder import read_run
from orilla.runtime.cli import main
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.preprocessing.image import Preprocess
from orilla.train.data import road as data
from orilla.train.data import segment as segment_data
from orilla.train.data.augment import RandomLight
from orilla.train.fit.losses import RoadLoss
from orilla.train.models import encoder
from orilla.train.models import segment as road
from orilla.train.options import TrainOptions
from orilla.train.train import train

SMALL = {"model": "road", "input": (64, 64), "width": 0.35, "batch": 4, "epochs": 2, "learning_rate": 3e-3}


pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def trained(tiny_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(TrainOptions(data=str(tiny_data), **SMALL), out, command="orilla train road")


def test_the_run_folder_is_complete(trained, tiny_data):
    folder, card = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "curves.png",
        "history.csv",
        "index.html",
        "model.keras",
        "run.json",
        "samples.png",
    ]
    saved, run = read_run(folder)
    assert saved == card
    assert run.data == str(tiny_data)
    assert cv2.imread(str(folder / "curves.png")).shape[1] > 500
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert card.data.splits[0].sha256 == open_dataset(tiny_data).digest("train")
    assert card.parameters == keras.models.load_model(folder / "model.keras").count_params()


def test_an_interrupted_training_resumes_to_the_same_model(trained, tiny_data, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(data=str(tiny_data), **SMALL), out, command="", progress=InterruptAfter(1))
    with pytest.raises(ConfigError, match="cannot resume"):
        train(TrainOptions(data=str(tiny_data), **{**SMALL, "epochs": 3}, resume=True), out, command="")
    train(TrainOptions(data=str(tiny_data), **SMALL, resume=True), out, command="")
    for expected, resumed in zip(factories.trained_weights(trained[0]), factories.trained_weights(out), strict=True):
        assert np.array_equal(expected, resumed)


@pytest.mark.slow
def test_it_learns_what_is_easy(tiny_data, tmp_path):
    import tensorflow

    tensorflow.config.run_functions_eagerly(run_eagerly=False)
    options = TrainOptions(data=str(tiny_data), **{**SMALL, "epochs": 40})
    try:
        card = train(options, tmp_path / "run", command="")
    finally:
        tensorflow.config.run_functions_eagerly(run_eagerly=True)
    assert card.metrics["iou"] > 0.8


def test_the_network_is_small_and_its_input_raw():
    model = road.deployable(road.build(classes=11))
    assert model.count_params() <= 1_000_000
    assert model.input.shape[1:] == (*road.INPUT_HW, 3)
    assert "normalise" in {layer.name for layer in model.layers}
    assert model.output.shape[1:] == (road.INPUT_HW[0] // 2, road.INPUT_HW[1] // 2, 1)


def test_doubling_repeats_each_cell():
    inputs = keras.Input((2, 3, 4))
    doubled = keras.Model(inputs, encoder.double(inputs, "double"))(np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4))
    expected = np.arange(24).reshape(1, 2, 3, 4).repeat(2, axis=1).repeat(2, axis=2)
    assert np.array_equal(keras.ops.convert_to_numpy(doubled), expected)


def test_truth_counts_the_road_among_the_labelled_pixels():
    labels = np.zeros((4, 8), np.uint8)
    labels[:, :2] = 3
    labels[:2, 4:] = 11
    truth = data.truth(labels, 3, 11, (2, 2))
    assert truth[..., data.FRACTION].tolist() == [[0.5, 0.0], [0.5, 0.0]]
    assert truth[..., data.COUNTED].tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_unlabelled_cells_don_t_count_in_the_loss():
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 4, 4, 3), np.float32)
    truth[:, :2, :, data.COUNTED] = 1
    truth[:, 2:, :, data.CLASS] = 11
    logits = rng.normal(size=(2, 4, 4, 12)).astype(np.float32)
    changed = logits.copy()
    changed[:, 2:] = 5
    loss = RoadLoss(11)
    assert np.allclose(loss.call(truth, logits), loss.call(truth, changed), atol=1e-6)


def test_the_loss_is_least_at_the_truth():
    truth = np.zeros((1, 4, 4, 3), np.float32)
    truth[..., data.COUNTED] = 1
    truth[:, 2:, :, data.FRACTION] = 1
    right = np.where(truth[..., :1] > 0.5, 12.0, -12.0).astype(np.float32)
    assert float(RoadLoss(0).call(truth, right)[0]) < 0.01
    assert float(RoadLoss(0).call(truth, -right)[0]) > 5


def test_images_and_labels_are_cropped_together():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 11, (60, 80), np.uint8)
    sample = data.LabelledImage("x", np.repeat(labels[..., None], 3, axis=2), labels)
    for _ in range(20):
        image, cut = segment_data.crop(sample, rng)
        assert np.array_equal(image[..., 0], cut)
        assert 0.5 * 60 - 1 <= cut.shape[0] <= 60


def test_a_close_up_turns_image_and_labels_together():
    labels = np.zeros((60, 80), np.uint8)
    labels[30:] = 3
    image = np.repeat((labels * 60)[..., None], 3, axis=2).astype(np.uint8)
    rng = np.random.default_rng(2)
    for _ in range(20):
        turned_image, turned = data.close_up(data.LabelledImage("x", image, labels), 3, 11, (32, 48), rng)
        assert turned_image.shape == (32, 48, 3)
        labelled = turned != 11
        wrong = (np.abs(turned_image[..., 0].astype(int) - turned * 60.0) > 90) & labelled
        assert wrong.mean() < 0.02


def test_batches_do_not_depend_on_earlier_ones(tiny_data):
    def road_data():
        items = [("train", index) for index in range(12)]
        dataset, preprocess = open_dataset(tiny_data), Preprocess(size_hw=(64, 64))
        return data.RoadData(dataset, items, preprocess, 4, 5, RandomLight(), grid_hw=(32, 32))

    first, second = road_data(), road_data()
    first.epoch(0, workers=1)[0]
    for array, repeated in zip(first.epoch(3, workers=1)[2], second.epoch(3, workers=1)[2], strict=True):
        assert np.array_equal(array, repeated)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"data": "nowhere.zip"}, DataError, "no such data set"),
        ({"input": (100, 64)}, ConfigError, "multiples of 32"),
        ({"weights": "none.h5"}, ConfigError, "no such weights file"),
        ({"learning_rate": math.nan}, ConfigError, "learning_rate=nan"),
        ({"width": 0.0}, ConfigError, "width=0.0"),
    ],
)
def test_bad_options_write_nothing(tiny_data, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        train(TrainOptions(**{"data": str(tiny_data), **SMALL, **options}), tmp_path / "run", command="")
    assert list(tmp_path.iterdir()) == []


def test_a_loss_of_nan_stops_the_training(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(RoadLoss, "call", lambda self, truth, logits: keras.ops.sum(logits, axis=(1, 2, 3)) * math.nan)
    with pytest.raises(DataError, match="loss is nan in epoch 1, batch 1: set a lower `learning_rate`"):
        train(TrainOptions(data=str(tiny_data), **SMALL), tmp_path / "run", command="")
    assert not (tmp_path / "run" / "model.keras").exists()


def test_the_command_writes_and_prints(tiny_data, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["train", "road", "--data", str(tiny_data), "--out", str(out), "--epochs", "1", "--batch", "4"]
    words += ["--input", "64x64", "--width", "0.35"]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["card"]["epochs"] == 1
    assert main(words) == 2
    assert "already contains a trained model" in capsys.readouterr().err


def test_masks_without_a_road_are_reported_before_training(tiny_data, tmp_path):
    folder = shutil.copytree(tiny_data, tmp_path / "data")
    for mask in (folder / "trainannot").iterdir():
        cv2.imwrite(str(mask), np.zeros_like(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)))
    with pytest.raises(DataError, match="no mask of the train split contains the class 'road'"):
        train(TrainOptions(data=str(folder), **SMALL), tmp_path / "run", command="")
    assert not (tmp_path / "run").exists()


def test_a_mask_with_an_unknown_value_is_found_before_training(tiny_data, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_data, tmp_path / "camvid")
    bad = next(path for path in (folder / "trainannot").iterdir())
    cv2.imwrite(str(bad), np.full((48, 64), 77, np.uint8))
    with pytest.raises(DataError, match=r"1 of 16 samples are corrupt: .* is label 77 in .*set skip_corrupt=True"):
        train(TrainOptions(data=str(folder), **SMALL), tmp_path / "run", command="")
    card = train(TrainOptions(data=str(folder), **SMALL, skip_corrupt=True), tmp_path / "run", command="")
    assert card.samples == 11
    assert "label 77" in card.data.skipped[0]

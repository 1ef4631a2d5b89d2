"""Training of the segmentation model for all classes: it learns, resumes after an interruption, and writes its card."""

import shutil

import cv2
import keras
import numpy as np
import pytest
from helpers import factories
from helpers.interrupt import InterruptAfter

from orilla.devices import keras_rules
from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.run_folder import read_run
from orilla.runtime.evaluation.datasets.camvid import CLASSES
from orilla.train.fit.losses import SegmentLoss
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import load_plan, segment
from orilla.train.options import TrainOptions
from orilla.train.train import train

SMALL = {"model": "segment", "input": (64, 64), "width": 0.35, "batch": 4, "epochs": 2, "learning_rate": 3e-3}

OTHERS = ("70 130 180", "0 0 142", "0 0 0")
"""Colours of the other classes in the masks, as red, green and blue."""


pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Return a data set in the layout `masks` with three classes and colour masks."""
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    (folder / "images").mkdir(parents=True)
    (folder / "classes.txt").write_text("sky 70 130 180\nroad 128 64 128\nbox 0 0 142\nvoid 0 0 0\n")
    colours = np.array([[180, 130, 70], [128, 64, 128], [142, 0, 0], [0, 0, 0]], np.uint8)
    for split, count in (("train", 12), ("val", 4)):
        for index in range(count):
            image = factories.road_picture(64, 64, 100 * count + index)
            labels = (factories.road_labels(64, 64) > 0).astype(np.uint8)
            labels[:, :2] = 3
            left = 4 + 3 * index
            labels[40:60, left : left + 16], image[40:60, left : left + 16] = 2, (20, 30, 250)
            factories.write_picture(folder / split / "images" / f"{index}.png", image)
            factories.write_picture(folder / split / "masks" / f"{index}.png", colours[labels])
    (folder / "images").rmdir()
    return folder


@pytest.fixture(scope="module")
def trained(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(TrainOptions(data=str(scenes), **SMALL), out, command="orilla train segment")


def test_the_run_folder_states_the_classes_and_the_activation(trained):
    folder, card = trained
    assert read_run(folder)[0] == card
    assert card.labels == ("sky", "road", "box")
    assert {"iou", "iou/sky", "iou/road", "pixel_accuracy"} <= set(card.metrics)
    assert card.decoding.activation == "softmax"
    network = keras.models.load_model(folder / "model.keras")
    assert network.output.shape[1:] == (32, 32, 3)
    assert cv2.imread(str(folder / "samples.png")).shape[0] > 200


def test_an_interrupted_training_resumes_to_the_same_model(trained, scenes, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(data=str(scenes), **SMALL), out, command="", progress=InterruptAfter(1))
    train(TrainOptions(data=str(scenes), **SMALL, resume=True), out, command="")
    for expected, resumed in zip(factories.trained_weights(trained[0]), factories.trained_weights(out), strict=True):
        assert np.array_equal(expected, resumed)


@pytest.mark.slow
def test_it_learns_what_is_easy(scenes, tmp_path):
    import tensorflow

    tensorflow.config.run_functions_eagerly(run_eagerly=False)
    try:
        card = train(TrainOptions(data=str(scenes), **{**SMALL, "epochs": 60}), tmp_path / "run", command="")
    finally:
        tensorflow.config.run_functions_eagerly(run_eagerly=True)
    assert card.metrics["iou"] > 0.8


def test_the_network_is_small_and_suits_the_edge_tpu():
    built = load_plan("segment").build(NetworkOptions(11, segment.ALL_INPUT_HW))
    assert built.deployed.count_params() <= 1_000_000
    assert built.deployed.output.shape[1:] == (144, 192, 11)
    assert not [advice for advice in keras_rules.check(built.deployed, "coral") if not advice.maps]


def test_the_loss_is_least_at_the_truth_and_ignores_unlabelled_cells():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (2, 6, 6, 1)).astype(np.float32)
    truth[:, :, 0] = 255
    right = np.where(truth == np.arange(3), 12.0, -12.0).astype(np.float32)
    assert float(SegmentLoss(3).call(truth, right)[0]) < 0.02
    assert float(SegmentLoss(3).call(truth, -right)[0]) > 5
    changed = right.copy()
    changed[:, :, 0] = rng.normal(size=(2, 6, 3))
    assert np.allclose(SegmentLoss(3).call(truth, right), SegmentLoss(3).call(truth, changed), atol=1e-6)


def test_a_class_without_a_training_pixel_is_reported_before_training(tiny_data, scenes, tmp_path):
    with pytest.raises(DataError, match=f"no mask of the train split contains the class '{CLASSES[1]}'"):
        train(TrainOptions(data=str(tiny_data), **SMALL), tmp_path / "run", command="")
    folder = shutil.copytree(scenes, tmp_path / "scenes")
    factories.write_picture(folder / "train" / "masks" / "0.png", np.full((64, 64, 3), (1, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"colour 3 2 1 \(R G B\) in mask 0.png is not in classes.txt"):
        train(TrainOptions(data=str(folder), **SMALL), tmp_path / "run", command="")
    assert not (tmp_path / "run").exists()


def test_one_class_is_not_enough(scenes, tmp_path):
    folder = shutil.copytree(scenes, tmp_path / "scenes")
    (folder / "classes.txt").write_text("road 128 64 128\n" + "".join(f"void {colour}\n" for colour in OTHERS))
    with pytest.raises(ConfigError, match="segment needs 2 to 255 classes, but scenes has 1"):
        train(TrainOptions(data=str(folder), **SMALL), tmp_path / "run", command="")

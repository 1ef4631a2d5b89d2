"""Training of the detector: it learns, is reproducible, resumes after an interruption, and writes its head."""

import csv
import math

import cv2
import keras
import numpy as np
import pytest
from helpers import datasets, factories
from helpers.interrupt import InterruptAfter

from orilla.devices import keras_rules
from orilla.devices.errors import ConfigError, DataError
from orilla.devices.progress import NoProgress
from orilla.runtime.bundle.run_folder import read_run
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.tasks.heads import registry
from orilla.runtime.tasks.heads.ssd_anchors import anchors_of
from orilla.train.data import anchors as anchor_data
from orilla.train.data import detect as data
from orilla.train.data.augment import RandomColour
from orilla.train.data.splits import split
from orilla.train.fit.losses import DetectLoss
from orilla.train.jobs.job import make_job
from orilla.train.jobs.plan import NetworkOptions
from orilla.train.models import detect, load_plan
from orilla.train.options import TrainOptions
from orilla.train.train import train

SMALL = {"model": "detect", "input": (64, 64), "width": 0.35, "batch": 4, "epochs": 2, "learning_rate": 3e-3}
HEAD = detect.head_spec((64, 64), [0.5, 1.0, 2.0])


pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return factories.boxed_folder(tmp_path_factory.mktemp("squares") / "squares", {"train": 12, "val": 4})


@pytest.fixture(scope="module")
def trained(squares, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(TrainOptions(data=str(squares), **SMALL), out, command="orilla train detect")


def test_the_run_folder_has_the_head(trained):
    folder, card = trained
    saved, run = read_run(folder)
    assert saved == card
    assert card.labels == ("red", "blue")
    assert {"map", "map50"} <= set(card.metrics)
    assert card.measured[0].intervals["map50"][1] >= card.metrics["map50"] >= card.measured[0].intervals["map50"][0]
    network = keras.models.load_model(folder / "model.keras")
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in network.output.items()}
    registry.check(run.head, shapes)
    assert registry.head_of("ssd_anchors").class_count(run.head, shapes) == 2
    assert network.count_params() == card.parameters
    for name in ("curves", "samples"):
        assert cv2.imread(str(folder / f"{name}.png")).shape[0] > 200
    rows = list(csv.DictReader((folder / "history.csv").open()))
    assert rows[-1]["val_map50"]


def test_an_interrupted_training_resumes_to_the_same_model(trained, squares, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(data=str(squares), **SMALL), out, command="", progress=InterruptAfter(1))
    train(TrainOptions(data=str(squares), **SMALL, resume=True), out, command="")
    for expected, resumed in zip(factories.trained_weights(trained[0]), factories.trained_weights(out), strict=True):
        assert np.array_equal(expected, resumed)


@pytest.mark.slow
def test_it_learns_what_is_easy(tmp_path):
    import tensorflow

    squares = factories.boxed_folder(tmp_path / "squares", {"train": 40, "val": 20})
    tensorflow.config.run_functions_eagerly(run_eagerly=False)
    try:
        card = train(TrainOptions(data=str(squares), **{**SMALL, "epochs": 60}), tmp_path / "run", command="")
    finally:
        tensorflow.config.run_functions_eagerly(run_eagerly=True)
    assert card.metrics["map50"] > 0.8


def test_the_network_is_small_and_suits_the_edge_tpu():
    built = load_plan("detect").build(NetworkOptions(20, detect.INPUT_HW))
    assert built.deployed.count_params() <= 1_500_000
    assert "normalise" in {layer.name for layer in built.deployed.layers}
    assert not [advice for advice in keras_rules.check(built.deployed, "coral") if not advice.maps]
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in built.deployed.output.items()}
    registry.check(detect.head_spec(detect.INPUT_HW, [0.5, 1.0, 2.0]), shapes)
    rows = sum(math.prod(shapes[f"boxes_{index}"]) for index in range(4)) // 4
    assert built.model.output.shape[1:] == (rows, 4 + 20)


def test_the_exported_outputs_have_the_order_of_the_trained_rows():
    built = load_plan("detect").build(NetworkOptions(2, (64, 64), width=0.35))
    image = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    rows = keras.ops.convert_to_numpy(built.model(image))[0]
    outputs = {name: keras.ops.convert_to_numpy(array)[0] for name, array in built.deployed(image).items()}
    boxes = np.concatenate([outputs[f"boxes_{index}"].reshape(-1, 4) for index in range(4)])
    scores = np.concatenate([outputs[f"scores_{index}"].reshape(-1, 2) for index in range(4)])
    assert np.allclose(np.concatenate([boxes, scores], axis=1), rows, atol=1e-5)


def test_targets_that_a_network_learns_perfectly_decode_to_the_boxes():
    boxes = np.array([[3, 5, 40, 60], [20, 8, 44, 30]], np.float32)
    anchors = anchors_of(HEAD, (64, 64))
    target = anchor_data.targets(anchors, boxes, np.array([1, 0]), np.zeros(2, bool), detect.VARIANCES)
    scores = np.where(target[:, 4:] == np.arange(2), 9.0, -9.0)
    outputs, start = {}, 0
    for index, (rows, columns) in enumerate(HEAD.options["grids"]):
        end = start + int(rows * columns) * 6
        outputs[f"boxes_{index}"] = target[start:end, :4].reshape(int(rows), int(columns), -1)
        outputs[f"scores_{index}"] = scores[start:end].reshape(int(rows), int(columns), -1).astype(np.float32)
        start = end
    found = registry.detect(outputs, HEAD, (64, 64))
    assert sorted(found.classes.tolist()) == [0, 1]
    assert np.allclose(found.boxes_xyxy[found.classes.argsort()], boxes[::-1], atol=1e-2)


def test_anchors_in_crowds_are_ignored_and_every_box_has_one():
    anchors = anchors_of(HEAD, (64, 64))
    boxes = np.array([[0, 0, 64, 64], [30, 30, 33, 32], [5, 5, 5.5, 60]], np.float32)
    crowd = np.array([True, False, False])
    target = anchor_data.targets(anchors, boxes, np.zeros(3, np.int64), crowd, detect.VARIANCES)
    assert np.count_nonzero(target[:, 4] >= 0) == 1
    assert np.count_nonzero(target[:, 4] == anchor_data.IGNORED) > 100
    nothing = anchor_data.targets(anchors, boxes[:0], np.zeros(0, np.int64), crowd[:0], detect.VARIANCES)
    assert (nothing[:, 4] == anchor_data.BACKGROUND).all()


def test_the_aspect_ratios_are_those_of_the_boxes():
    narrow, wide = np.tile([10.0, 40.0], (50, 1)), np.tile([40.0, 20.0], (50, 1))
    low, middle, high = anchor_data.aspect_ratios(np.concatenate([narrow, wide]), 3)
    assert (low, high) == (0.25, 2.0)
    assert low < middle < high
    assert anchor_data.aspect_ratios(narrow, 3) == pytest.approx([0.25, 0.275, 0.3025], abs=1e-3)


def test_a_part_of_an_image_keeps_its_boxes():
    rng = np.random.default_rng(0)
    for seed in range(40):
        image, rows = factories.boxed_picture(64, seed)
        boxes = data.Boxes(np.array([row[1:] for row in rows], np.float32), np.array([rows[0][0]]), np.zeros(1, bool))
        part, inside = data.window(image, boxes, 128, rng)
        if rng.random() < 0.5:
            part, inside = data.mirrored(part, inside)
        assert not inside.crowd.all()
        left, top, right, bottom = inside.boxes_xyxy[0].astype(int)
        channel = (2, 0)[rows[0][0]]
        assert (part[top:bottom, left:right, channel] == 250).all()
        assert np.count_nonzero(part[..., channel] == 250) == (right - left) * (bottom - top)


def test_batches_do_not_depend_on_earlier_ones(squares):
    def detect_data():
        items = [("train", index) for index in range(12)]
        preprocess = Preprocess(size_hw=(64, 64), resize="letterbox", fill=128)
        return data.DetectData(open_dataset(squares), items, preprocess, 4, 5, RandomColour(), head=HEAD)

    first, second = detect_data(), detect_data()
    first.epoch(0, workers=1)[0]
    for array, repeated in zip(first.epoch(3, workers=1)[2], second.epoch(3, workers=1)[2], strict=True):
        assert np.array_equal(array, repeated)


def test_the_loss_is_least_at_the_truth_and_ignores_crowds():
    truth = np.zeros((1, 6, 5), np.float32)
    truth[0, :, 4] = [1, 0, -1, -1, -1, anchor_data.IGNORED]
    truth[0, :2, :4] = [[1, -2, 0.5, 1], [0, 0, -3, 2]]
    right = np.concatenate([truth[..., :4], np.where(truth[..., 4:] == np.arange(2), 12.0, -12.0)], axis=2)
    loss = DetectLoss(2, detect.VARIANCES)
    assert float(loss.call(truth, right.astype(np.float32))[0]) < 1e-3
    wrong = right.copy()
    wrong[0, 5] = 30
    assert float(loss.call(truth, wrong.astype(np.float32))[0]) < 1e-3
    wrong[0, 0, :2] += 40
    assert float(loss.call(truth, wrong.astype(np.float32))[0]) > 1


def test_a_loss_of_nan_stops_the_training(squares, tmp_path, monkeypatch):
    monkeypatch.setattr(DetectLoss, "call", lambda self, truth, rows: keras.ops.sum(rows, axis=(1, 2)) * math.nan)
    with pytest.raises(DataError, match="loss is nan in epoch 1, batch 1: set a lower `learning_rate`"):
        train(TrainOptions(data=str(squares), **SMALL), tmp_path / "run", command="")
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize("kind", ["coco", "voc", "scene_boxes"])
def test_every_kind_of_boxes_can_be_trained_on(kind, tmp_path):
    options = TrainOptions(data=str(getattr(datasets, kind)(tmp_path / kind)), samples=3, **SMALL)
    dataset = open_dataset(options.data)
    splits = split(dataset, limit=3)
    job = make_job(options, dataset, splits)
    assert job.labels == dataset.classes
    images, truths = job.phases[0](NoProgress()).data.epoch(0, workers=1)[0]
    assert images.shape == (4, 64, 64, 3)
    assert (truths[..., 4] >= 0).any()
    assert "val_map50" in job.phases[0](NoProgress()).evaluate()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"input": (100, 64)}, ConfigError, "multiples of 32"),
        ({"weights": "none.h5"}, ConfigError, "no such weights file"),
        ({"dropout": 0.5}, ConfigError, "dropout=0.5 has no effect on detect"),
        ({"model": "road"}, DataError, "has no class 'road': its classes are red, blue"),
        ({"model": "segment"}, DataError, r"segment cannot be trained on squares \(task detect\): train detect"),
    ],
)
def test_bad_options_write_nothing(squares, tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        train(TrainOptions(**{"data": str(squares), **SMALL, **options}), tmp_path / "run", command="")
    assert list(tmp_path.iterdir()) == []


def test_data_without_boxes_are_reported_before_training(squares, tmp_path):
    import shutil

    folder = shutil.copytree(squares, tmp_path / "data")
    for file in (folder / "train" / "labels").iterdir():
        file.write_text("")
    with pytest.raises(DataError, match="no image of the train split has a box"):
        train(TrainOptions(data=str(folder), **SMALL), tmp_path / "run", command="")
    (folder / "train" / "labels" / "3.txt").write_text("0 1.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"samples are corrupt: .*lies outside the image.*set skip_corrupt=True"):
        train(TrainOptions(data=str(folder), **SMALL), tmp_path / "run", command="")
    assert not (tmp_path / "run").exists()

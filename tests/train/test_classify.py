"""Classifiers of images and texts learn, resume in any phase, choose epochs on held-out samples, and write a card."""

import cv2
import keras
import numpy as np
import pytest
from helpers import factories
from helpers.interrupt import InterruptAfter
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from orilla.devices.progress import NoProgress
from orilla.runtime.bundle.run_folder import read_run
from orilla.train.data.splits import split
from orilla.train.evaluate import BATCH
from orilla.train.jobs.job import make_job
from orilla.train.options import TrainOptions
from orilla.train.train import open_data, train


@pytest.fixture(scope="module")
def trained(animals, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    return out, train(TrainOptions(data=str(animals), **factories.SMALL_CONVNET), out, command="orilla train convnet")


def test_a_folder_of_images_becomes_a_complete_run_folder(trained):
    folder, card = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        "card.json",
        "confusion.png",
        "curves.png",
        "history.csv",
        "index.html",
        "model.keras",
        "run.json",
        "samples.png",
    ]
    assert card.metrics["accuracy"] > 0.9
    low, high = card.measured[0].intervals["accuracy"]
    assert low <= card.metrics["accuracy"] <= high
    assert card.labels == ("cat", "dog")
    assert [(part.name, part.count) for part in card.data.splits] == [("train", 48), ("val", 16)]
    assert np.array(card.measured[0].confusion).sum() == 16
    assert read_run(folder)[0] == card
    for name in ("confusion", "curves", "samples"):
        assert cv2.imread(str(folder / f"{name}.png")).shape[0] > 200
    page = (folder / "index.html").read_text()
    assert "roc_auc" in page
    assert page.count("data:image/png") == 3


def test_texts_become_a_model_with_its_vocabulary(tmp_path):
    table = factories.text_table(tmp_path / "reviews.csv", 240)
    options = TrainOptions(
        model="lstm", data=str(table), input=(20,), epochs=12, batch=8, learning_rate=2e-2, dropout=0.0, hold_out="none"
    )
    card = train(options, tmp_path / "run", command="")
    assert card.metrics["accuracy"] > 0.9
    vocabulary = (tmp_path / "run" / "vocabulary.txt").read_text().splitlines()
    assert {"dreadful", "lovely", "film"} <= set(vocabulary)


def test_the_best_epoch_is_chosen_on_samples_held_out(animals, tmp_path):
    options = TrainOptions(
        data=str(animals), **{**factories.SMALL_CONVNET, "epochs": 30}, keep_best=True, patience=3, hold_out="0.3"
    )
    card = train(options, tmp_path / "run", command="")
    assert [part.name for part in card.data.splits] == ["train", "choose", "val"]
    assert card.best_epoch <= card.epochs <= card.best_epoch + 3 < 30
    chosen = next(result for result in card.measured if result.split == "choose")
    rows = (tmp_path / "run" / "history.csv").read_text().splitlines()
    column = rows[0].split(",").index("choose_accuracy")
    best = max(float(row.split(",")[column]) for row in rows[1:])
    assert chosen.metrics["accuracy"] == pytest.approx(best)


def test_between_epochs_images_are_evaluated_in_small_batches(tmp_path, monkeypatch):
    """If the batches were larger, their activations would take most of the memory of a training run."""
    data = factories.class_folders(tmp_path / "data", {"train": 4, "validation": 40})
    batches, predict = [], keras.Model.predict_on_batch
    monkeypatch.setattr(
        keras.Model, "predict_on_batch", lambda self, inputs: batches.append(len(inputs)) or predict(self, inputs)
    )
    train(TrainOptions(model="mlp-relu", data=str(data), epochs=1, batch=8), tmp_path / "run", command="")
    assert max(batches) == BATCH
    assert sum(batches[:3]) == 80


@pytest.fixture(scope="module")
def mobilenet_weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "base.weights.h5"
    keras.applications.MobileNetV2(input_shape=(32, 32, 3), include_top=False, weights=None).save_weights(path)
    return str(path)


@pytest.mark.slow
def test_two_phases_with_frozen_features_resume_to_the_same_model(animals, mobilenet_weights, tmp_path, monkeypatch):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    small = {"model": "mobilenet", "input": (32, 32), "batch": 8, "epochs": 2, "views": 2, "data": str(animals)}
    small["weights"] = mobilenet_weights
    whole = train(TrainOptions(**small), tmp_path / "whole", command="")
    assert whole.epochs == 12
    for killed_at in (3, 11):
        out = tmp_path / f"killed{killed_at}"
        with pytest.raises(KeyboardInterrupt):
            train(TrainOptions(**small), out, command="", progress=InterruptAfter(killed_at))
        train(TrainOptions(**small, resume=True), out, command="")
        for expected, resumed in zip(
            factories.trained_weights(tmp_path / "whole"), factories.trained_weights(out), strict=True
        ):
            assert np.array_equal(expected, resumed)


def test_features_of_frozen_layers_are_what_the_whole_network_computes(
    animals, mobilenet_weights, tmp_path, monkeypatch
):
    monkeypatch.setenv("ORILLA_CACHE", str(tmp_path / "cache"))
    named = {"model": "mobilenet", "weights": mobilenet_weights, "input": (32, 32), "augment": False}
    options = TrainOptions(data=str(animals), epochs=1, batch=8, **named)
    _, dataset = open_data(options)
    splits = split(dataset)
    job = make_job(options, dataset, splits)
    task = job.phases[0](NoProgress())
    inputs, _ = task.data.epoch(0, workers=1)[0]
    order = np.random.default_rng([0, 0]).permutation(48)[:8]
    prepared = np.stack([job.prepare(dataset.load(*splits.train[index])) for index in order]).astype(np.float32)
    assert np.allclose(task.model.predict_on_batch(inputs), job.network.predict_on_batch(prepared), atol=2e-3)
    frozen = [layer.name for layer in job.network.layers if layer not in task.model.layers]
    assert "Conv1" in frozen
    assert "probabilities" not in frozen


def test_half_precision_training_saves_a_float32_model(animals, tmp_path):
    options = TrainOptions(data=str(animals), **factories.SMALL_CONVNET, precision="bfloat16", tensorboard=True)
    card = train(options, tmp_path / "run", command="")
    assert card.precision == "bfloat16"
    board = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {"loss", "val_accuracy"} <= set(board.Tags()["tensors"])
    assert [event.step for event in board.Tensors("loss")] == [1, 2, 3, 4, 5, 6]
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_class_name_may_contain_a_dollar_sign(tmp_path):
    data = factories.class_folders(tmp_path / "money", {"train": 4, "val": 4}, classes=("$1", "$5_^"))
    train(TrainOptions(model="mlp-sigmoid", data=str(data), epochs=1, batch=8), tmp_path / "run", command="")
    assert (tmp_path / "run" / "model.keras").exists()

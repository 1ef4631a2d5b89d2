"""Training runs that are killed, run out of memory, lose their data or stop learning."""

import math

import keras
import numpy as np
import pytest
from helpers.factories import SMALL_CONVNET, trained_weights
from helpers.interrupt import InterruptAfter

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.cli import main
from orilla.train.data import batches
from orilla.train.options import TrainOptions
from orilla.train.train import train


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"precision": "float16", "model": "lenet", "input": (28, 28), "augment": True, "epochs": 2},
        {"keep_best": True, "patience": 1, "epochs": 8},
    ],
)
def test_a_training_killed_after_any_epoch_resumes_to_the_same_model(animals, tmp_path, options):
    named = {**SMALL_CONVNET, "data": str(animals), **options}
    whole = train(TrainOptions(**named), tmp_path / "whole", command="")
    for killed_at in (1, whole.epochs):
        out = tmp_path / f"killed{killed_at}"
        with pytest.raises(KeyboardInterrupt):
            train(TrainOptions(**named), out, command="", progress=InterruptAfter(killed_at))
        again = train(TrainOptions(**named, resume=True), out, command="")
        assert (again.epochs, again.best_epoch) == (whole.epochs, whole.best_epoch)
        for expected, resumed in zip(trained_weights(tmp_path / "whole"), trained_weights(out), strict=True):
            assert np.array_equal(expected, resumed)


def test_an_interrupt_says_how_to_resume(animals, tmp_path, monkeypatch, capsys):
    real, epochs = keras.Model.fit, []

    def fit_once(self, *arguments, **options):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", fit_once)
    words = ["train", "mlp-sigmoid", "--data", str(animals), "--out", str(tmp_path / "run"), "--epochs", "2"]
    assert main(words) == 130
    assert "repeat the command with --resume" in capsys.readouterr().err


def test_a_resumed_training_uses_the_new_learning_rate(animals, tmp_path, monkeypatch):
    rates, fit_epoch = [], keras.Model.fit

    def recorded_fit(self, *arguments, **options):
        rates.append(float(self.optimizer.learning_rate))
        if len(rates) == 2:
            raise KeyboardInterrupt
        return fit_epoch(self, *arguments, **options)

    monkeypatch.setattr(keras.Model, "fit", recorded_fit)
    options = {**SMALL_CONVNET, "data": str(animals), "epochs": 3, "schedule": "constant"}
    with pytest.raises(KeyboardInterrupt):
        train(TrainOptions(**options), tmp_path / "run", command="")
    train(TrainOptions(**{**options, "learning_rate": 1e-4, "resume": True}), tmp_path / "run", command="")
    assert rates == pytest.approx([3e-3, 3e-3, 1e-4, 1e-4])


def test_a_loss_of_nan_keeps_the_last_good_epoch(animals, tmp_path, monkeypatch):
    make_batch = batches.ClassifierEpoch.make_batch

    def spoilt(self, index):
        inputs, labels = make_batch(self, index)
        return inputs, labels * math.nan if (self.number, index) == (1, 3) else labels.astype(float)

    monkeypatch.setattr(batches.ClassifierEpoch, "make_batch", spoilt)
    with pytest.raises(
        DataError,
        match=r"loss is nan in epoch 2, batch 4: set resume=True and a lower `learning_rate` to continue from epoch 1",
    ):
        train(TrainOptions(data=str(animals), **SMALL_CONVNET), tmp_path / "run", command="")
    assert (tmp_path / "run" / "checkpoint.npz").exists()
    monkeypatch.undo()
    again = {**SMALL_CONVNET, "resume": True}
    with pytest.raises(ConfigError, match=r"it was started with epochs 6, not 7; seed 0, not 1$"):
        train(TrainOptions(data=str(animals), **{**again, "epochs": 7, "seed": 1}), tmp_path / "run", command="")
    card = train(TrainOptions(data=str(animals), **{**again, "learning_rate": 1e-3}), tmp_path / "run", command="")
    assert (card.epochs, card.learning_rate) == (6, 1e-3)
    assert (tmp_path / "run" / "model.keras").exists()


def test_out_of_memory_says_which_batch_fits(animals, tmp_path, monkeypatch):
    class ResourceExhaustedError(Exception):
        pass

    step = keras.Model.train_on_batch

    def fit(self, *arguments, **named):
        msg = "failed to allocate memory"
        raise ResourceExhaustedError(msg)

    def train_on_batch(self, inputs, truths):
        if len(inputs) > 2:
            msg = "failed to allocate memory"
            raise ResourceExhaustedError(msg)
        return step(self, inputs, truths)

    monkeypatch.setattr(keras.Model, "fit", fit)
    monkeypatch.setattr(keras.Model, "train_on_batch", train_on_batch)
    with pytest.raises(ConfigError, match="out of memory with batch=8: set batch=2, which fits"):
        train(TrainOptions(data=str(animals), **SMALL_CONVNET), tmp_path / "run", command="")


def test_an_image_that_is_damaged_during_training_is_named(animals, tmp_path):
    import shutil

    folder = shutil.copytree(animals, tmp_path / "animals")
    steps = []

    def spoil(self, index, make=batches.ClassifierEpoch.make_batch):
        steps.append(index)
        if len(steps) == 2:
            msg = "cannot decode cat/cat003.png: not an image, or damaged"
            raise DataError(msg)
        return make(self, index)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches.ClassifierEpoch, "make_batch", spoil)
        with pytest.raises(DataError, match=r"cannot decode cat/cat003\.png"):
            train(TrainOptions(data=str(folder), **SMALL_CONVNET), tmp_path / "run", command="")

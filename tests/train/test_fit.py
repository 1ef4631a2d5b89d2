"""The training loop, tested on a model with one weight."""

from contextlib import contextmanager

import keras
import numpy as np
import pytest

from orilla.devices.progress import NoProgress
from orilla.train.fit.training import FitOptions, FitTask, fit


class OneBatch(keras.utils.PyDataset):
    """Data set with one batch: four samples of y = 3x."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        x = np.array([[1.0], [2.0], [-1.0], [0.5]], np.float32)
        return x, 3 * x


class Line:
    def epoch(self, number, *, workers):
        return OneBatch()


def slopes(folder, epochs, **options):
    """Train for `epochs` epochs of one step each. Return the final weight, and the weight at each evaluation."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    steps = []

    def evaluate():
        steps.append(float(model.get_weights()[0][0, 0]))
        return {"slope": steps[-1]}

    folder.mkdir(exist_ok=True)
    fit_options = FitOptions(epochs=epochs, learning_rate=0.1, schedule="constant", **options)
    fit(FitTask(model, Line(), "mse", evaluate, fit_options), folder, signature="", resume=True)
    return float(model.get_weights()[0][0, 0]), steps


class Recorder(NoProgress):
    """Progress display that records its calls."""

    def __init__(self):
        self.epochs, self.steps_done = [], 0

    def milestone(self, text):
        self.epochs.append(text)

    @contextmanager
    def steps(self, title, total, completed=0):
        self.title, self.total, self.steps_done = title, total, completed
        yield self.advance

    def advance(self, steps, note):
        self.steps_done += steps
        self.note = note


def test_progress_counts_steps_and_epochs(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    options = FitOptions(epochs=3, learning_rate=0.1, evaluate_every=2)
    task = FitTask(model, Line(), "mse", lambda: {"val_accuracy": 0.5}, options)
    recorder = Recorder()
    fit(task, tmp_path, signature="", progress=recorder)
    assert (recorder.title, recorder.total, recorder.steps_done) == ("training", 3, 3)
    assert [line[:16] for line in recorder.epochs] == [f"epoch {number}/3  loss " for number in (1, 2, 3)]
    assert ["val_accuracy 0.5000" in line for line in recorder.epochs] == [False, True, True]
    assert recorder.note.endswith("val_accuracy 0.5000 (epoch 2)")


def test_the_average_of_the_weights_is_kept_and_the_training_continues_from_the_latest(tmp_path):
    steps = [slopes(tmp_path / f"plain{epochs}", epochs, average=0.0)[0] for epochs in (1, 2, 3, 4)]
    expected = [np.mean(steps[:count]) for count in (1, 2, 3, 4)]
    average, calls = slopes(tmp_path / "whole", 4, average=1.0)  # This average covers all four training steps.
    assert calls == pytest.approx(expected, rel=1e-5)
    assert average == pytest.approx(expected[-1], rel=1e-5)
    last = expected[0]
    for share, step in zip((1 / 2, 1 / 2, 1 / 2), steps[1:], strict=True):
        last += share * (step - last)
    # With `average=0.5`, the average covers two steps.
    assert slopes(tmp_path / "half", 4, average=0.5)[0] == pytest.approx(last, rel=1e-5)
    assert slopes(tmp_path / "best", 4, average=1.0, watch="slope")[0] == pytest.approx(max(expected), rel=1e-5)

"""Measure the cost of the training loop, compared with a bare `model.fit` on arrays in memory.

    python tests/perf/train.py [--model convnet] [--data DATA] [--rounds 5] [--json]

Both loops train the same network, with the same initial weights and batch size. They alternate after each epoch. The
training loop reads, shuffles and (with `--augment`) augments its samples, reports progress and writes checkpoints. The
samples of the bare loop are prepared before its time is measured. The training loop should be at least as fast (a ratio
of 1).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from orilla.devices.progress import NoProgress
from orilla.runtime.stdio import hidden_stderr
from orilla.train.data.batches import ClassifierData
from orilla.train.data.splits import split
from orilla.train.fit import backend
from orilla.train.fit.training import FitTask, fit
from orilla.train.jobs.job import make_job
from orilla.train.options import TrainOptions
from orilla.train.train import open_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="convnet", help="a classifier (default: convnet)")
    parser.add_argument("--data", help="data set, as for `orilla train` (default: generated images)")
    parser.add_argument("--samples", type=int, default=480)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--augment", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    if arguments.json:
        print(json.dumps(result, indent=2))
        return
    print(
        f"{result['model']}, batch {result['batch']}, {result['samples']} samples an epoch, {result['rounds']} rounds"
    )
    print(f"bare model.fit      {result['bare_per_s']:8.1f} samples/s")
    print(f"orilla              {result['ours_per_s']:8.1f} samples/s")
    print(
        f"ratio               {result['ratio']:8.3f}  (rounds {result['ratio_min']:.3f} to {result['ratio_max']:.3f})"
    )


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return the samples per second of both loops, and their ratio."""
    task = training(arguments, folder)
    assert isinstance(task.data, ClassifierData)
    rounds = alternate(task, arguments, folder)
    ratios = [ours / bare for bare, ours in rounds]
    return {
        "model": arguments.model,
        "batch": arguments.batch,
        "samples": task.data.count,
        "augment": arguments.augment,
        "backend": keras.backend.backend(),
        "rounds": len(rounds),
        "bare_per_s": statistics.median(bare for bare, _ in rounds),
        "ours_per_s": statistics.median(ours for _, ours in rounds),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def training(arguments: argparse.Namespace, folder: Path) -> FitTask:
    """Return the last phase of the training run that the arguments describe."""
    data = arguments.data or images(folder / "images", arguments.samples)
    options = TrainOptions(
        model=arguments.model,
        data=str(data),
        batch=arguments.batch,
        samples=arguments.samples,
        augment=arguments.augment,
    )
    backend.configure("float32", 0)
    _, dataset = open_data(options)
    splits = split(dataset, limit=arguments.samples, hold_out="none", drop_leaks=True)
    return make_job(options, dataset, splits).phases[-1](NoProgress())


def alternate(task: FitTask, arguments: argparse.Namespace, folder: Path) -> list[tuple[float, float]]:
    """Train alternately with `fit` and with the bare loop. Return the samples per second of both in each round."""
    assert isinstance(task.data, ClassifierData)
    count, labels = task.data.count, task.data.labels
    inputs = task.data.inputs.view(np.arange(count), 0)
    bare_model = keras.models.clone_model(task.model)
    bare_model.compile(keras.optimizers.AdamW(1e-3, clipnorm=1.0), loss=task.loss, metrics=list(task.metrics))
    rounds: list[tuple[float, float]] = []
    finished = time.perf_counter()

    def between_epochs() -> dict[str, float]:
        """Record the time of the last epoch of `fit`, then run the bare loop."""
        nonlocal finished
        ours = time.perf_counter() - finished
        started = time.perf_counter()
        bare_model.fit(inputs, labels, batch_size=arguments.batch, verbose=0)
        rounds.append((count / (time.perf_counter() - started), count / ours))
        finished = time.perf_counter()
        return {}

    options_of_fit = replace(task.options, epochs=arguments.rounds + 1, evaluate_every=1)
    with hidden_stderr():
        fit(replace(task, evaluate=between_epochs, options=options_of_fit), folder, signature="")
    return rounds[1:]  # The first round includes the compilation of both models.


def images(folder: Path, count: int) -> Path:
    """Write class folders of smooth random images, 240x240."""
    import cv2

    rng = np.random.default_rng(0)
    for split_name, number in (("train", count // 2), ("val", 4)):
        for name in ("a", "b"):
            (folder / split_name / name).mkdir(parents=True)
            for index in range(number):
                image = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (240, 240))
                cv2.imwrite(str(folder / split_name / name / f"{index}.jpg"), image)
    return folder


if __name__ == "__main__":
    main()

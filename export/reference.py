"""What the original model answers: the truth that every variant is held against."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

BATCH = 32


def predict(model: str, jobs: str) -> None:
    """Writes the outputs for prepared samples.

    Args:
        jobs: a JSON file: a list of `inputs`, name of an input to its `.npy`, `[N,...]`, and `out`, the `.npy` to
            write, `[N,...]` float32, of several outputs `[N,D]`, one after the other in the order of their names.

    Raises:
        ValueError: an output that holds NaN or infinity.
    """
    from orilla.export.frozen import input_names, load, output_names

    network = load(model)
    order = np.argsort(output_names(network), kind="stable")
    for job in json.loads(Path(jobs).read_text()):
        arrays = [np.load(job["inputs"][name], mmap_mode="r") for name in input_names(network)]
        made = []
        for start in range(0, len(arrays[0]), BATCH):
            given = [_batch(array[start : start + BATCH]) for array in arrays]
            outputs = network.predict_on_batch(given if len(given) > 1 else given[0])
            made.append(_joined(outputs, order))
        result = np.concatenate(made).astype(np.float32)
        if not np.isfinite(result).all():
            raise ValueError("the original model's output holds NaN or infinity: train it again")
        np.save(job["out"], result)


def _batch(array: np.ndarray) -> np.ndarray:
    return np.asarray(array) if array.dtype.kind == "i" else array.astype(np.float32)


def _joined(outputs: object, order: np.ndarray) -> np.ndarray:
    import keras

    flat = [np.asarray(one) for one in keras.tree.flatten(outputs)]
    if len(flat) == 1:
        return flat[0]
    return np.concatenate([flat[place].reshape(len(flat[place]), -1) for place in order], axis=1)

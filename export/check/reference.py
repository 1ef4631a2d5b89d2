"""Run the original model to get the outputs with which every variant is compared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.check.compare import Reference
from orilla.export.check.golden import Candidates
from orilla.export.convert import fork_server
from orilla.export.data.prepared import SampleSet
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace, save_array
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.targets import target_of
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import GroundTruth, Target, Task

BATCH = 32

MAX_EXCESS = 1e-3
"""Largest rounding error by which a probability may be below 0 or above 1."""


def run_original(
    source: SourceModel, validation: SampleSet, candidates: Candidates, work: Workspace
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run the original model on the validation data and the golden candidates, in one process.

    Args:
        source: The original model.
        validation: The prepared validation samples.
        candidates: The candidates for golden samples.
        work: The workspace with the prepared samples.

    Returns:
        The outputs for the validation samples and the outputs for the candidates, each `[N,...]`.

    Raises:
        ConversionError: The original model cannot run.
        DataError: The outputs do not fit the task.
    """
    for name, array in candidates.inputs.items():
        save_array(work.inputs("golden", name), array)
    stems = ("validation", "golden")
    jobs = [
        {
            "inputs": {name: str(work.inputs(stem, name)) for name in validation.inputs},
            "out": str(work.outputs(stem)),
        }
        for stem in stems
    ]
    work.jobs.write_text(json.dumps(jobs))
    fork_server.call("orilla.export.check.reference:predict", model=str(source.model), jobs=str(work.jobs))
    outputs, golden_outputs = (np.load(work.outputs(stem)) for stem in stems)
    _check_scores(source, outputs)
    return outputs, golden_outputs


def make_reference(
    source: SourceModel, validation: SampleSet, dataset: Dataset, outputs: NDArray[np.float32]
) -> Reference:
    """Return the reference for the checks. Without labels, the decisions of the original model are the ground truth.

    Args:
        source: The original model.
        validation: The prepared validation samples.
        dataset: The validation data set.
        outputs: Outputs of the original model for the validation samples, `[N,...]`.

    Raises:
        DataError: The labels and the outputs differ in size.
    """
    task = task_of(source.task)
    labelled = dataset.has_labels and (task.needs_labels or _has_values(validation, outputs))
    truths = validation.truths if labelled else _own_truths(outputs, validation, task)
    return Reference(
        target_of(dataset, source.task, source.labels)
        if labelled
        else Target(task, source.labels, task.pseudo_indices(source.labels), dataset.ignore),
        truths,
        validation.inputs,
        outputs,
        validation.sizes,
        sums_to_one=task.sums_to_one(outputs),
    )


def _check_scores(source: SourceModel, outputs: NDArray[np.float32]) -> None:
    """Raise `DataError` if the task needs probabilities but the outputs are not probabilities."""
    low, high = float(outputs.min()), float(outputs.max())
    if task_of(source.task).scores_in_0_1 and (low < -MAX_EXCESS or high > 1 + MAX_EXCESS):
        msg = (
            f"the outputs range from {low:.3g} to {high:.3g}, so they are not probabilities: end the model with a "
            "softmax layer, or use task=tensor"
        )
        raise DataError(msg)


def _own_truths(outputs: Iterable[NDArray[np.float32]], validation: SampleSet, task: Task) -> list[GroundTruth]:
    """Return the decisions of the original model in the form of ground truth."""
    return [
        GroundTruth(truth.name, task.pseudo_truth(output, size))
        for output, truth, size in zip(outputs, validation.truths, validation.sizes, strict=True)
    ]


def _has_values(validation: SampleSet, outputs: NDArray[np.float32]) -> bool:
    """Return True if each label has as many numbers as an output. Raises `DataError` if not."""
    size = outputs[0].size
    sizes = {np.size(truth.value) for truth in validation.truths}
    if sizes != {size}:
        msg = f"y of {validation.source} has {max(sizes)} numbers per sample, but the model outputs {size}"
        raise DataError(msg)
    return True


def predict(model: str, jobs: str) -> None:
    """Run the original model on prepared samples, and write its outputs.

    Args:
        model: Path of the model file.
        jobs: Path of a JSON file with a list of jobs. In each job, `inputs` maps the name of each input to a `.npy`
            file with an array `[N,...]`, and `out` names the `.npy` file to write, with a float32 array `[N,...]`.
            Several outputs are concatenated in the order of their names to an array `[N,D]`.

    Raises:
        ValueError: An output contains NaN or infinity.
    """
    from orilla.export.convert.frozen import input_names, load, output_names

    network = load(model)
    order = np.argsort(output_names(network), kind="stable")
    for job in json.loads(Path(jobs).read_text()):
        arrays = [np.load(job["inputs"][name], mmap_mode="r") for name in input_names(network)]
        batches = []
        for start in range(0, len(arrays[0]), BATCH):
            inputs = [_batch(array[start : start + BATCH]) for array in arrays]
            outputs = network.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
            batches.append(_concatenated(outputs, order))
        result = np.concatenate(batches).astype(np.float32)
        if not np.isfinite(result).all():
            msg = "the original model's output contains NaN or infinity: train it again"
            raise ValueError(msg)
        save_array(Path(job["out"]), result)


def _batch(array: np.ndarray) -> np.ndarray:
    return np.asarray(array) if array.dtype.kind == "i" else array.astype(np.float32)


def _concatenated(outputs: object, order: np.ndarray) -> np.ndarray:
    import keras

    flat = [np.asarray(output) for output in keras.tree.flatten(outputs)]
    if len(flat) == 1:
        return flat[0]
    return np.concatenate([flat[place].reshape(len(flat[place]), -1) for place in order], axis=1)

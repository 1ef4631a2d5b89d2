"""Run the original model to get the outputs with which every variant is compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from orilla.devices.errors import DataError
from orilla.export.check.compare import OutputArrays, Reference
from orilla.export.check.golden import Candidates
from orilla.export.convert import fork_server
from orilla.export.data.prepared import SampleSet
from orilla.export.imports.predict import save_binding
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace, save_array
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.targets import target_of
from orilla.runtime.preprocessing.tensor_spec import only, per_sample
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import GroundTruth, Target

BATCH = 32

MAX_EXCESS = 1e-3
"""Tolerance for probabilities that fall below 0 or above 1 because of rounding."""

MAX_SUM_ERROR = 0.01
"""Largest difference between one and the sum of an original model's probabilities. If it is larger, for example for a
quantised original, the sums of the variants' probabilities are not reported."""


def run_original(
    source: SourceModel, validation: SampleSet, candidates: Candidates, work: Workspace
) -> tuple[OutputArrays, OutputArrays]:
    """Run the original model on the validation data and the golden candidates, in one process.

    Args:
        source: The original model.
        validation: The prepared validation samples.
        candidates: The candidates for golden samples.
        work: The workspace with the prepared samples.

    Returns:
        The outputs for the validation samples, and the outputs for the candidates.

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
            "outputs": {spec.name: str(work.outputs(stem, place)) for place, spec in enumerate(source.outputs)},
        }
        for stem in stems
    ]
    work.jobs.write_text(json.dumps(jobs))
    extra = {}
    if source.foreign is not None:
        save_binding(work.binding, source.binding)
        extra["binding"] = str(work.binding)
    fork_server.call(source.predict, model=str(source.model), jobs=str(work.jobs), **extra)
    outputs, golden_outputs = (
        {spec.name: np.load(work.outputs(stem, place)) for place, spec in enumerate(source.outputs)} for stem in stems
    )
    _check_scores(source, outputs)
    return outputs, golden_outputs


def make_reference(source: SourceModel, validation: SampleSet, dataset: Dataset, outputs: OutputArrays) -> Reference:
    """Return the reference for the checks. Without labels, the decisions of the original model are the ground truth.

    Args:
        source: The original model.
        validation: The prepared validation samples.
        dataset: The validation data set.
        outputs: Outputs of the original model for the validation samples.

    Raises:
        DataError: The labels and the outputs differ in size.
    """
    task = task_of(source.task)
    labelled = dataset.has_labels and (task.needs_labels or _has_values(validation, outputs))
    truths = validation.truths if labelled else _own_truths(outputs, validation, source)
    return Reference(
        target_of(dataset, source.task, source.context)
        if labelled
        else Target(task, source.context, task.pseudo_indices(source.labels), dataset.ignore, pseudo=True),
        truths,
        validation.inputs,
        outputs,
        validation.sizes,
        sums_to_one=task.sums_to_one(outputs, source.context) and _sum_to_one(outputs),
    )


def _check_scores(source: SourceModel, outputs: OutputArrays) -> None:
    """Raise `DataError` if the task needs probabilities but the outputs are not probabilities."""
    low = min(float(array.min()) for array in outputs.values())
    high = max(float(array.max()) for array in outputs.values())
    outside = low < -MAX_EXCESS or high > 1 + MAX_EXCESS
    if outside and task_of(source.task).outputs_probabilities(source.context):
        msg = (
            f"the outputs range from {low:.3g} to {high:.3g}, so they are not probabilities: end the model with a "
            "softmax layer, or use task=tensor"
        )
        raise DataError(msg)


def _sum_to_one(outputs: OutputArrays) -> bool:
    """Return True if the probabilities of the original model sum to one. In a quantised model, they may not."""
    return float(np.abs(only(outputs).sum(axis=-1) - 1).max()) <= MAX_SUM_ERROR


def _own_truths(outputs: OutputArrays, validation: SampleSet, source: SourceModel) -> list[GroundTruth]:
    """Return the decisions of the original model as ground truth."""
    task = task_of(source.task)
    return [
        GroundTruth(truth.name, task.pseudo_truth(output, source.context.of_frame(size)))
        for output, truth, size in zip(per_sample(outputs), validation.truths, validation.sizes, strict=True)
    ]


def _has_values(validation: SampleSet, outputs: OutputArrays) -> bool:
    """Return True if each label has as many numbers as the outputs. Raises `DataError` if not."""
    size = sum(array[0].size for array in outputs.values())
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
            file with an array `[N,...]`, and `outputs` maps the name of each output to the `.npy` file to write, with
            a float32 array `[N,...]`.

    Raises:
        ValueError: An output contains NaN or infinity.
    """
    import keras

    from orilla.export.convert.frozen import input_names, load, output_names

    network = load(model)
    for job in json.loads(Path(jobs).read_text()):
        arrays = [np.load(job["inputs"][name], mmap_mode="r") for name in input_names(network)]
        batches = []
        for start in range(0, len(arrays[0]), BATCH):
            inputs = [_batch(array[start : start + BATCH]) for array in arrays]
            outputs = network.predict_on_batch(inputs if len(inputs) > 1 else inputs[0])
            batches.append([np.asarray(output, np.float32) for output in keras.tree.flatten(outputs)])
        for name, *parts in zip(output_names(network), *batches, strict=True):
            result = np.concatenate(parts)
            if not np.isfinite(result).all():
                msg = "the original model's output contains NaN or infinity: train it again"
                raise ValueError(msg)
            save_array(Path(job["outputs"][name]), result)


def _batch(array: np.ndarray) -> np.ndarray:
    return np.asarray(array) if array.dtype.kind == "i" else array.astype(np.float32)

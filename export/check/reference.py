"""Run the original model. Every variant is compared with its answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export import samples
from orilla.export.check.compare import Reference
from orilla.export.check.golden import GoldenData, candidates, golden
from orilla.export.convert import fork_server
from orilla.export.samples import SampleSet
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.metrics import Target, target_of
from orilla.runtime.preprocessing.preprocessor import RawInput

BATCH = 32

SLACK = 1e-3
"""Rounding error by which a probability may leave 0–1."""


def answered(
    source: SourceModel,
    checked: SampleSet,
    dataset: Dataset,
    raws: list[tuple[str, RawInput]],
    count: int,
    work: Workspace,
) -> tuple[Reference, GoldenData]:
    """Run the original model on the validation data and the golden candidates, in one process.

    Args:
        source: The original model.
        checked: Prepared validation samples.
        dataset: Data set of the validation samples.
        raws: Golden candidates by name.
        count: Number of golden samples to choose.
        work: Folder with the prepared samples.

    Raises:
        ConversionError: The original model cannot run.
        DataError: Its answers do not fit the task, or the labels have another shape.
    """
    given = candidates(raws, source)
    for name, array in given.inputs.items():
        np.save(work.inputs("golden", name), array)
    outs = {stem: work.outputs(stem) for stem in ("validation", "golden")}
    jobs = [
        {"inputs": {name: str(work.inputs(stem, name)) for name in checked.inputs}, "out": str(out)}
        for stem, out in outs.items()
    ]
    work.jobs.write_text(json.dumps(jobs))
    fork_server.call("orilla.export.check.reference:predict", model=str(source.model), jobs=str(work.jobs))
    outputs: NDArray[np.float32] = np.load(outs["validation"])
    _check_scores(source, outputs)
    labelled = dataset.labelled and (source.task != "tensor" or _has_values(checked, outputs))
    truths = checked.truths
    if not labelled:
        truths = samples.truths_of(outputs, [one.name for one in truths], source.task, checked.sizes)
    reference = Reference(
        target_of(dataset, source.task, source.labels) if labelled else _own_target(source, dataset),
        truths,
        checked.inputs,
        outputs,
        checked.sizes,
        sums=source.task in ("classify", "text") and outputs.ndim == 2 and outputs.shape[1] > 1,
    )
    return reference, golden(source, given, np.load(outs["golden"]), count)


def _check_scores(source: SourceModel, outputs: NDArray[np.float32]) -> None:
    """Raise `DataError` if the task needs probabilities and the answers are none."""
    low, high = float(outputs.min()), float(outputs.max())
    if source.task != "tensor" and (low < -SLACK or high > 1 + SLACK):
        msg = f"the outputs are {low:.3g} to {high:.3g}, not probabilities: end it in softmax or use task=tensor"
        raise DataError(msg)


def _own_target(source: SourceModel, dataset: Dataset) -> Target:
    """Return the target for unlabelled data: classes in the model's own order, masks of 0 and 1."""
    places = (1,) if source.task == "segment" else tuple(range(len(source.labels)))
    return Target(source.task, source.labels, places, dataset.ignore)


def _has_values(checked: SampleSet, outputs: NDArray[np.float32]) -> bool:
    """Return True if the labels are values of the output. Raises `DataError` if they have another size."""
    size = outputs[0].size
    sizes = {np.size(one.value) for one in checked.truths}
    if sizes != {size}:
        msg = f"y of {checked.source} has {max(sizes)} numbers per sample, but the model outputs {size}"
        raise DataError(msg)
    return True


def predict(model: str, jobs: str) -> None:
    """Write the outputs for prepared samples.

    Args:
        model: Path of the model file.
        jobs: Path of a JSON file: a list of `inputs`, which maps the name of an input to its `.npy` `[N,...]`, and
            `out`, the `.npy` to write, `[N,...]` float32. Several outputs are concatenated in name order to `[N,D]`.

    Raises:
        ValueError: An output contains NaN or infinity.
    """
    from orilla.export.convert.frozen import input_names, load, output_names

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
            msg = "the original model's output contains NaN or infinity: train it again"
            raise ValueError(msg)
        np.save(job["out"], result)


def _batch(array: np.ndarray) -> np.ndarray:
    return np.asarray(array) if array.dtype.kind == "i" else array.astype(np.float32)


def _joined(outputs: object, order: np.ndarray) -> np.ndarray:
    import keras

    flat = [np.asarray(one) for one in keras.tree.flatten(outputs)]
    if len(flat) == 1:
        return flat[0]
    return np.concatenate([flat[place].reshape(len(flat[place]), -1) for place in order], axis=1)

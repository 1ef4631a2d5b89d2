"""Prepare samples for the network, and store them in files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of
from orilla.runtime.evaluation.datasets.raw import prepared, raw_of
from orilla.runtime.evaluation.targets import truth_of
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.tasks.task import GroundTruth

Inputs = dict[str, NDArray[Any]]
"""Prepared samples as arrays `[N,...]`. The keys are the names of the network's inputs."""


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Prepared samples with their ground truth."""

    source: str
    """Name of the data set and of the split."""
    sha256: str
    """SHA-256 digest of the samples in the form in which the data set stores them."""
    inputs: Inputs
    truths: list[GroundTruth]
    sizes: list[tuple[int, int] | None]
    """Height and width of each image. None for other inputs."""

    @property
    def count(self) -> int:
        """Return the number of samples."""
        return len(self.truths)

    def digest(self) -> str:
        """Return the hexadecimal SHA-256 digest of the prepared samples."""
        total = hashlib.sha256()
        for name in sorted(self.inputs):
            for array in self.inputs[name]:
                total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()


def prepare(dataset: Dataset, items: Sequence[Item], source: SourceModel, work: Workspace, stem: str) -> SampleSet:
    """Read and prepare samples, and store them in the workspace.

    There is one file per input, so that the samples do not have to fit in memory.

    Args:
        dataset: Data set that contains the samples.
        items: Split and index of each sample.
        source: Model for which the samples are prepared.
        work: Workspace of the export.
        stem: Name of this set of samples in the workspace: `validation` or `calibration`.

    Raises:
        DataError: A sample cannot be read, or does not fit the network.
    """
    inputs: Inputs = {}
    truths: list[GroundTruth] = []
    sizes: list[tuple[int, int] | None] = []
    for place, item in enumerate(items):
        sample = dataset.load(*item)
        for name, array in by_input(source, prepared(sample, source.preprocessor)).items():
            if name not in inputs:
                inputs[name] = _array_in_file(work.inputs(stem, name), array.dtype, (len(items), *array.shape))
            inputs[name][place] = array
        truths.append(truth_of(sample))
        raw = raw_of(sample)
        sizes.append((raw.shape[0], raw.shape[1]) if isinstance(raw, np.ndarray) else None)
    split = items[0][0]
    is_whole_split = len(items) == len(dataset.names(split))
    sha256 = dataset.digest(split) if is_whole_split else digest_of(dataset, items)
    name = dataset.source.name if split == "all" else f"{dataset.source.name} {split}"
    return SampleSet(name, sha256, inputs, truths, sizes)


def _array_in_file(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Create an array that is mapped to a file, and allocate its disk space.

    Without the allocation, a write to the array would kill the process if the disk is full.
    """
    array = np.lib.format.open_memmap(file, "w+", dtype, shape)
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def by_input(source: SourceModel, sample: ModelInput) -> Inputs:
    """Return the arrays of a prepared sample. The keys are the names of the network's inputs."""
    if isinstance(sample, np.ndarray):
        return {source.info.inputs[0].name: sample}
    return {name: np.asarray(array) for name, array in sample.items()}


def row(inputs: Inputs, index: int) -> ModelInput:
    """Return the prepared sample at `index`."""
    if len(inputs) == 1:
        array: NDArray[Any] = next(iter(inputs.values()))[index]
        return array
    return {name: array[index] for name, array in inputs.items()}

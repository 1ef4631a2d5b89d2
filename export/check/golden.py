"""Create the golden data of a bundle: samples with the outputs of the original model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orilla.devices.errors import DataError
from orilla.export.check.compare import OutputArrays
from orilla.export.data.draw import all_items, balanced
from orilla.export.data.open import open_samples
from orilla.export.data.prepared import Inputs, by_input, row
from orilla.export.source_model import SourceModel
from orilla.runtime.bundle.golden import encode_outputs
from orilla.runtime.bundle.manifest import Golden
from orilla.runtime.evaluation.datasets import Dataset, LabelledImage
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.datasets.raw import named_raw
from orilla.runtime.frame import Line
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.tensor_spec import per_sample
from orilla.runtime.preprocessing.text import TextPreprocessor
from orilla.runtime.sources.text_lines import Lines
from orilla.runtime.tasks.registry import task_of

MAX_COMPARED = 40
"""Approximate number of images whose masks are compared to choose golden samples for the segment task."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Samples from which the golden samples are chosen, in the form in which a bundle stores them."""

    stored: list[tuple[bytes, RawInput]]
    """File content of each sample, and the raw sample that a device decodes from it."""
    inputs: Inputs


@dataclass(frozen=True, slots=True)
class GoldenData:
    """Golden data of one bundle."""

    files: dict[str, bytes]
    entries: tuple[Golden, ...]
    inputs: Inputs
    outputs: OutputArrays
    """Outputs of the original model for the golden samples."""


def raw_samples(
    spec: str | None, dataset: Dataset, items: Sequence[Item], source: SourceModel, count: int
) -> list[tuple[str, RawInput]]:
    """Return the name and content of each raw sample from which golden samples can be chosen.

    There are `Task.golden_candidates` times as many raw samples as golden samples.

    Args:
        spec: A data set, such as `scenes`, or a `.txt` file with one text per line. If None, the samples come from the
            validation data. Required if the validation data may not be redistributed.
        dataset: The validation data set.
        items: Split and index of each validation sample.
        source: The original model.
        count: Number of golden samples.

    Raises:
        DataError: There is no usable sample.
    """
    if (
        spec is not None
        and isinstance(source.preprocessor, TextPreprocessor)
        and Path(spec).is_file()
        and Path(spec).suffix == ".txt"
    ):
        return _texts(spec)
    origin = dataset if spec is None else open_samples(spec, source)
    pool = list(items) if spec is None else all_items(origin)
    if origin.has_labels and task_of(origin.task).labels_pixels and set(source.labels) <= set(origin.classes):
        chosen = _by_share(origin, pool, source.labels[0], count)
    else:
        chosen = balanced(origin, pool, task_of(source.task).golden_candidates * count, 0)
    loaded = (origin.load(*item) for item in chosen)
    return [(sample.name, named_raw(sample, source.preprocessor)) for sample in loaded]


def _texts(spec: str) -> list[tuple[str, RawInput]]:
    lines = [line for line in iter(Lines.open(spec).read, None) if isinstance(line, Line)]
    if not lines:
        msg = f"the file {spec} with golden texts is empty"
        raise DataError(msg)
    return [(f"line {line.index + 1}", line.text) for line in lines]


def _by_share(dataset: Dataset, items: Sequence[Item], label: str, count: int) -> list[Item]:
    """Sort images by the share of their pixels with the class `label`, and return `count` evenly spaced images."""
    target = dataset.classes.index(label)
    shares = []
    for place in range(0, len(items), max(1, len(items) // MAX_COMPARED)):
        sample = dataset.load(*items[place])
        assert isinstance(sample, LabelledImage)
        shares.append((float(np.mean(sample.labels == target)), place))
    shares.sort()
    places = np.linspace(0, len(shares) - 1, min(count, len(shares))).round().astype(int)
    return [items[shares[place][1]] for place in dict.fromkeys(places.tolist())]


def candidates(raws: Sequence[tuple[str, RawInput]], source: SourceModel) -> Candidates:
    """Encode raw samples as files, and then decode and prepare them as a device does."""
    stored = [source.preprocessor.encode_raw(raw, name) for name, raw in raws]
    prepared = [by_input(source, source.preprocessor(raw)) for _, raw in stored]
    return Candidates(stored, {name: np.stack([sample[name] for sample in prepared]) for name in prepared[0]})


def choose_golden(source: SourceModel, candidates: Candidates, outputs: OutputArrays, count: int) -> GoldenData:
    """Choose the golden samples from the candidates, and return their files.

    Args:
        source: The original model.
        candidates: The samples to choose from.
        outputs: Outputs of the original model for the candidates.
        count: Number of golden samples.
    """
    chosen = task_of(source.task).choose_golden(outputs, source.context, count)
    stored = [candidates.stored[place] for place in chosen]
    outputs = {name: array[chosen] for name, array in outputs.items()}
    inputs = {name: array[chosen] for name, array in candidates.inputs.items()}
    preprocessor = source.preprocessor
    files: dict[str, bytes] = {}
    entries = []
    for index, ((data, raw), output) in enumerate(zip(stored, per_sample(outputs), strict=True)):
        stem = f"golden/{index:03d}"
        names = [f"{stem}{preprocessor.raw_suffix}", f"{stem}{preprocessor.prepared_suffix}", f"{stem}.output.npy"]
        files[names[0]] = data
        files[names[1]] = preprocessor.encode_prepared(_named(preprocessor, row(inputs, index)))
        files[names[2]] = encode_outputs(output, source.outputs, np.float32)
        entries.append(Golden(names[0], preprocessor.digest(raw), names[1], names[2]))
    return GoldenData(files, tuple(entries), inputs, outputs)


def _named(preprocessor: InputPreprocessor, prepared: ModelInput) -> ModelInput:
    """Return a prepared sample in the form that the preprocessor returns: arrays by name, or a single array."""
    if preprocessor.input_names and isinstance(prepared, np.ndarray):
        return {preprocessor.input_names[0]: prepared}
    return prepared

"""Samples of an export: calibration, validation and golden data, all read through the same preprocessing."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.source_model import SourceModel
from orilla.export.workspace import Workspace
from orilla.runtime.evaluation.datasets import (
    ArraySample,
    ClassifiedImage,
    Dataset,
    LabelledImage,
    Sample,
    Source,
    open_dataset,
)
from orilla.runtime.evaluation.datasets.dataset import Item, digest_of, path_of
from orilla.runtime.evaluation.datasets.raw import prepared, raw_of
from orilla.runtime.evaluation.datasets.subset import Subset
from orilla.runtime.evaluation.metrics import GroundTruth, truth_of
from orilla.runtime.frame import Line
from orilla.runtime.preprocessing.image_file import decode_image, why_undecoded
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.tensor import TensorPreprocess
from orilla.runtime.sources.source import image_files
from orilla.runtime.sources.text_lines import Lines
from orilla.runtime.tasks.classify import class_scores
from orilla.runtime.tasks.decide import decisions
from orilla.runtime.tasks.task import Task

MIN_CALIBRATION = 8

APART = 5
"""Share of the samples kept for validation, one in this number, if one data set serves both purposes."""

CLEAR = 0.6
"""Minimum score of a golden sample's best class. A closer decision may differ on another processor."""

Inputs = dict[str, NDArray[Any]]
"""Prepared samples, `[N,...]`, by the name of the network's input."""


class Pictures(Dataset):
    """A folder of images without labels."""

    classes = ()
    labelled = False

    def __init__(self, folder: Path, task: Task) -> None:
        self._files = image_files(folder)
        self.task = task
        self.source = Source("pictures", "a folder of images", "not stated")

    @property
    def splits(self) -> tuple[str, ...]:
        return ("all",)

    def names(self, split: str) -> tuple[str, ...]:
        return tuple(file.name for file in self._files)

    def load(self, split: str, index: int) -> Sample:
        data = self.content(split, index)
        image = decode_image(data)
        if image is None:
            msg = f"cannot decode {self._files[index]}: {why_undecoded(data)}"
            raise DataError(msg)
        return ClassifiedImage(self._files[index].name, image, -1)

    def truth(self, split: str, index: int) -> bytes:
        return b""

    def content(self, split: str, index: int) -> bytes:
        return self._files[index].read_bytes()


def open_samples(spec: str, source: SourceModel) -> Dataset:
    """Open a data set or a folder of images.

    Raises:
        ConfigError: The specification is invalid.
        DataError: The data cannot be read, or does not fit the model.
    """
    folder = Path(spec)
    if source.preprocessor.kind == "image" and folder.is_dir() and image_files(folder):
        return Pictures(folder, source.task)
    dataset = open_dataset(spec)
    if source.card is not None and source.card.data.skipped and same_place(spec, source.data or ""):
        dataset = Subset(dataset, source.card.data.skipped)
    if not dataset.splits:
        msg = f"data set {spec} has no samples"
        raise DataError(msg)
    kind = _kind(dataset)
    if kind != source.preprocessor.kind:
        wanted = {"image": "images", "text": "texts", "tensor": "arrays (.npz)"}
        msg = f"{spec} contains {wanted[kind]}, but the model takes {wanted[source.preprocessor.kind]}"
        raise DataError(msg)
    return dataset


def _kind(dataset: Dataset) -> str:
    sample = dataset.load(dataset.checked, 0)
    if isinstance(sample, ArraySample):
        return "tensor"
    return "text" if dataset.task == "text" else "image"


def divide(
    dataset: Dataset | None, checked: Dataset, count: int, limit: int | None, seed: int
) -> tuple[list[Item], list[Item]]:
    """Divide samples into calibration and validation samples, which never overlap.

    Args:
        dataset: Data for calibration, or None.
        checked: Data for validation; the same object if one data set serves both.
        count: Number of calibration samples.
        limit: Maximum number of validation samples, evenly spread. None takes all.
        seed: Seed of the draw.

    Raises:
        DataError: There are too few samples, or the data set for calibration has no train split.
    """
    split = checked.checked
    whole = [(split, index) for index in range(len(checked.names(split)))]
    if dataset is None:
        return [], _spread(whole, limit)
    if "train" not in dataset.splits and len(dataset.splits) > 1:
        msg = f"calibration needs the train split of {dataset.source.name}, because the others are for validation"
        raise DataError(msg)
    if "train" in dataset.splits or dataset is not checked:
        part = "train" if "train" in dataset.splits else dataset.checked
        pool, rest = [(part, index) for index in range(len(dataset.names(part)))], whole
    else:
        pool = [item for place, item in enumerate(whole) if place % APART]
        rest = whole[::APART]
    if len(pool) < MIN_CALIBRATION:
        kept = f", of which {len(rest)} are kept for validation" if rest is not whole else ""
        msg = f"calibration set has {len(pool) + len(rest) * bool(kept)} samples{kept}: give {MIN_CALIBRATION} or more"
        raise DataError(msg)
    return _balanced(dataset, pool, count, seed), _spread(rest, limit)


def _spread(items: list[Item], limit: int | None) -> list[Item]:
    count = min(len(items), limit or len(items))
    return [items[place * len(items) // count] for place in range(count)]


def _balanced(dataset: Dataset, pool: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Draw `count` items, one class after the other."""
    labels = {split: dataset.labels(split) for split in {split for split, _ in pool}}
    order = np.random.default_rng(seed).permutation(len(pool)).tolist()
    queues: dict[int, list[int]] = {}
    for place in order:
        split, index = pool[place]
        queues.setdefault(labels[split][index], []).append(place)
    turns = [queue[place] for place in range(len(order)) for queue in queues.values() if place < len(queue)]
    return [pool[place] for place in sorted(turns[:count])]


@dataclass(frozen=True, slots=True)
class SampleSet:
    """Samples as the network takes them."""

    source: str
    sha256: str
    inputs: Inputs
    truths: list[GroundTruth]
    sizes: list[tuple[int, int] | None]
    """Height and width of the images of a segmentation."""

    @property
    def count(self) -> int:
        return len(self.truths)


def prepare(dataset: Dataset, items: Sequence[Item], source: SourceModel, work: Workspace, stem: str) -> SampleSet:
    """Read and prepare samples into files below `work`, one per input, so that none stays in memory.

    Raises:
        DataError: A sample cannot be read, or does not fit the network.
    """
    inputs: Inputs = {}
    truths: list[GroundTruth] = []
    sizes: list[tuple[int, int] | None] = []
    for place, item in enumerate(items):
        sample = dataset.load(*item)
        for name, array in named(source, prepared(sample, source.preprocessor)).items():
            if name not in inputs:
                inputs[name] = _mapped(work.inputs(stem, name), array.dtype, (len(items), *array.shape))
            inputs[name][place] = array
        truths.append(truth_of(sample))
        raw = raw_of(sample)
        pictured = source.task == "segment" and isinstance(raw, np.ndarray)
        sizes.append((raw.shape[0], raw.shape[1]) if pictured else None)  # type: ignore[union-attr]
    part = "" if items[0][0] == "all" else f" {items[0][0]}"
    whole = len(items) == len(dataset.names(items[0][0]))
    sha256 = dataset.digest(items[0][0]) if whole else digest_of(dataset, items)
    return SampleSet(f"{dataset.source.name}{part}", sha256, inputs, truths, sizes)


def _mapped(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Create an array in a file whose disk space is allocated.

    Writing into a hole on a full disk would kill the process.
    """
    array = np.lib.format.open_memmap(file, "w+", dtype, shape)
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def named(source: SourceModel, prepared: ModelInput) -> dict[str, NDArray[Any]]:
    """Return a prepared sample by the names of the network's inputs."""
    if isinstance(prepared, np.ndarray):
        return {source.facts.inputs[0].name: prepared}
    return {name: np.asarray(array) for name, array in prepared.items()}


def row(inputs: Inputs, index: int) -> ModelInput:
    """Return one of the prepared samples."""
    if len(inputs) == 1:
        one: NDArray[Any] = next(iter(inputs.values()))[index]
        return one
    return {name: array[index] for name, array in inputs.items()}


def same_place(one: str, other: str) -> bool:
    """Return True if two data specifications name the same file or folder."""
    here, there = path_of(one), path_of(other)
    return one == other or (here is not None and there is not None and here.samefile(there))


FAR, MIN_COMPARED = 4.0, 8
"""Calibration arrays are rejected if the median of the samples' largest values differs by this factor from the
validation arrays, and if there are at least this many samples."""


def check_calibration(drawn: SampleSet, source: SourceModel) -> None:
    """Raise `DataError` if a quantiser cannot find ranges in the samples."""
    for name, array in drawn.inputs.items():
        if source.preprocessor.is_text:
            continue
        flat = array.reshape(len(array), -1)
        if flat.dtype.kind == "f" and not np.isfinite(flat).all():
            msg = f"calibration data {drawn.source}: {name} contains NaN or infinity"
            raise DataError(msg)
        spread = max(float(one.astype(np.float64).std()) for one in flat)
        if source.preprocessor.kind == "image" and spread < 1.0:
            msg = f"calibration images in {drawn.source} have only one colour: give real images"
            raise DataError(msg)
        if spread == 0 and flat.shape[1] > 1 and float(np.ptp(flat.astype(np.float64))) == 0:
            msg = f"calibration data {drawn.source}: {name} has the same value everywhere"
            raise DataError(msg)


def check_same_kind(drawn: SampleSet, checked: SampleSet, source: SourceModel) -> None:
    """Raise `DataError` if the range of calibration arrays differs much from the validation arrays."""
    if source.preprocessor.kind != "tensor" or min(drawn.count, checked.count) < MIN_COMPARED:
        return
    for name, array in drawn.inputs.items():
        if array.dtype.kind != "f":
            continue
        reach, wanted = (
            float(np.median([np.abs(sample).max() for sample in one.inputs[name]])) for one in (drawn, checked)
        )
        if reach > FAR * wanted or wanted > FAR * reach:
            msg = (
                f"calibration data {drawn.source}: {name} reaches {reach:.3g}, but {wanted:.3g} in {checked.source} "
                "(medians): calibrate on samples of the same kind"
            )
            raise DataError(msg)


def save_calibration(drawn: SampleSet, source: SourceModel, file: Path) -> None:
    """Write the file that `export.convert.keras_litert.calibration_samples` reads."""
    floats = {one.name for one in source.facts.inputs if one.dtype.startswith("float")}
    arrays = {
        name: array.astype(np.float32) if name in floats and array.dtype.kind == "i" else array
        for name, array in drawn.inputs.items()
    }
    np.savez(file, **arrays)  # type: ignore[arg-type]


def digest(drawn: SampleSet) -> str:
    """Return the SHA-256 (hex) of prepared samples."""
    total = hashlib.sha256()
    for name in sorted(drawn.inputs):
        for one in drawn.inputs[name]:
            total.update(np.ascontiguousarray(one).tobytes())
    return total.hexdigest()


def golden(
    spec: str | None, dataset: Dataset, items: Sequence[Item], source: SourceModel, count: int
) -> list[tuple[str, RawInput]]:
    """Return raw inputs for golden data, by name.

    They come from the validation data, or from `spec` if the validation data may not be redistributed. For a
    classifier, three times as many are returned, to choose from.

    Args:
        spec: A data set of images, whose classes do not matter (`scenes`), or a file with one text per line.
        dataset: The validation data.
        items: Its samples.
        source: The model.
        count: Number of golden samples.

    Raises:
        DataError: There is no usable sample.
    """
    preprocessor = source.preprocessor
    if spec is not None and preprocessor.is_text and Path(spec).is_file() and Path(spec).suffix == ".txt":
        texts: list[tuple[str, RawInput]] = [
            (f"line {line.index + 1}", line.text)
            for line in iter(Lines.open(spec).read, None)
            if isinstance(line, Line)
        ]
        if not texts:
            msg = f"golden texts {spec}: the file is empty"
            raise DataError(msg)
        return texts
    origin = dataset if spec is None else open_samples(spec, source)
    pool = list(items) if spec is None else [(origin.checked, i) for i in range(len(origin.names(origin.checked)))]
    known = origin.labelled and origin.task == "segment" and set(source.labels) <= set(origin.classes)
    if known:
        chosen = _by_share(origin, pool, source.labels[0], count)
    else:
        chosen = _balanced(origin, pool, count if source.task in ("segment", "tensor") else 3 * count, 0)
    return [(sample.name, _raw(sample, preprocessor)) for sample in (origin.load(*item) for item in chosen)]


def _raw(sample: Sample, preprocessor: InputPreprocessor) -> RawInput:
    raw = raw_of(sample)
    if isinstance(preprocessor.spec, TensorPreprocess) and not isinstance(raw, np.ndarray | str):
        return preprocessor.spec.check(next(iter(raw.values())) if len(raw) == 1 else raw)
    return raw


def _by_share(dataset: Dataset, items: Sequence[Item], label: str, count: int) -> list[Item]:
    """Return images from the smallest to the largest share of a class, evenly spaced."""
    target = dataset.classes.index(label)
    shares = []
    for place in range(0, len(items), max(1, len(items) // 40)):
        sample = dataset.load(*items[place])
        assert isinstance(sample, LabelledImage)
        shares.append((float(np.mean(sample.labels == target)), place))
    shares.sort()
    places = np.linspace(0, len(shares) - 1, min(count, len(shares))).round().astype(int)
    return [items[shares[place][1]] for place in dict.fromkeys(places.tolist())]


def clear(outputs: NDArray[np.float32], count: int) -> list[int]:
    """Choose the golden samples of a classifier.

    The choice has equally many samples of each class, and only samples with a clear decision, evenly spaced from the
    hardest to the easiest. If too few are clear, it takes the clearest.
    """
    scores = class_scores(outputs)
    best, said = scores.max(axis=1), scores.argmax(axis=1)
    order = np.argsort(best, kind="stable")
    fitting = order[best[order] >= CLEAR]
    if len(fitting) < count:
        return sorted(order[-count:].tolist())
    of_class = [fitting[said[fitting] == label] for label in np.unique(said[fitting])]
    shares = [0] * len(of_class)
    while sum(shares) < count:
        for place, members in enumerate(of_class):
            if sum(shares) < count and shares[place] < len(members):
                shares[place] += 1
    chosen: list[int] = []
    for members, share in zip(of_class, shares, strict=True):
        chosen += members[np.linspace(0, len(members) - 1, share).round().astype(int)].tolist()
    return sorted(chosen)


def truths_of(
    outputs: Iterable[NDArray[np.float32]], names: Iterable[str], task: Task, sizes: Iterable[Any]
) -> list[GroundTruth]:
    """Return the answers of the original model as ground truth for unlabelled data."""
    truths = []
    for output, name, size in zip(outputs, names, sizes, strict=True):
        if task == "tensor":
            truths.append(GroundTruth(name, output.ravel()))
        elif task == "segment":
            truths.append(GroundTruth(name, decisions(task, output, size).astype(np.uint8)))
        else:
            truths.append(GroundTruth(name, int(decisions(task, output)[0])))
    return truths

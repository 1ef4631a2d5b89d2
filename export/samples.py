"""The samples that export works with, all through the one way in: calibration, validation, golden."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.card import Card
from orilla.runtime.datasets import Dataset, LabelledImage, open_dataset
from orilla.runtime.feed import Feed, Raw, raw_of
from orilla.runtime.measures import Truth, truth_of
from orilla.runtime.measures.classification import class_scores
from orilla.runtime.sources.images import Images
from orilla.runtime.sources.lines import Lines
from orilla.runtime.sources.source import picture_files

LEAST_CALIBRATION = 8

CLEAR = 0.6
"""A golden sample's best class has at least this score: on another CPU a coin's edge may fall to the other side."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Prepared inputs whose value ranges a static quantiser sees."""

    source: str
    inputs: NDArray[Any]
    """`[N,h,w,3]` uint8, or `[N,T]` int32."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.inputs.tobytes()).hexdigest()


def calibration(spec: str, feed: Feed, count: int, seed: int) -> Calibration:
    """Draws `count` samples from the training split of a data set, as many of each class as there are, or from a
    folder of pictures.

    Raises:
        DataError: too few samples, or pictures without content.
    """
    raws, name = _raws(spec, feed, count, seed)
    prepared = np.stack([feed(raw).copy() for raw in raws])
    if not feed.is_text:
        _check_content(prepared, spec)
    return Calibration(name, prepared)


def _raws(spec: str, feed: Feed, count: int, seed: int) -> tuple[list[Raw], str]:
    files = picture_files(Path(spec)) if Path(spec).is_dir() and not feed.is_text else []
    if files:
        source = Images.open([files[index] for index in _draw(len(files), count, seed)], spec)
        return [frame.image for frame in iter(source.read, None)], "pictures"
    dataset = open_dataset(spec)
    if "train" not in dataset.splits:
        raise DataError(f"calibration needs the train split of {spec}: calibrate on other samples than are checked")
    _enough(len(dataset.names("train")))
    chosen = _balanced(dataset.labels("train"), count, seed)
    return [raw_of(dataset.load("train", index)) for index in chosen], f"{dataset.source.name} train"


def _balanced(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Indices drawn class by class in turn, until there are `count`."""
    order: list[int] = np.random.default_rng(seed).permutation(len(labels)).tolist()
    queues: dict[int, list[int]] = {}
    for index in order:
        queues.setdefault(labels[index], []).append(index)
    turns = [queue[place] for place in range(len(order)) for queue in queues.values() if place < len(queue)]
    return sorted(turns[:count])


def _draw(available: int, count: int, seed: int) -> list[int]:
    _enough(available)
    return sorted(np.random.default_rng(seed).permutation(available)[:count].tolist())


def _enough(available: int) -> None:
    if available < LEAST_CALIBRATION:
        raise DataError(f"calibration set has {available} samples: give {LEAST_CALIBRATION} or more")


def _check_content(prepared: NDArray[np.uint8], spec: str) -> None:
    spread = prepared.reshape(len(prepared), -1).std(axis=1)
    if float(spread.max()) < 1.0:
        raise DataError(f"calibration pictures in {spec} are all of one colour: give real ones")


def validation(dataset: Dataset, feed: Feed, limit: int | None) -> tuple[NDArray[Any], list[Truth]]:
    """The split that variants are checked on: inputs prepared, `[N,...]`, and what is true of them; where there is a
    limit, spread evenly over the split."""
    split = dataset.checked
    total = len(dataset.names(split))
    count = min(total, limit or total)
    prepared, truths = [], []
    for place in range(count):
        sample = dataset.load(split, place * total // count)
        prepared.append(feed.sample(sample).copy())
        truths.append(truth_of(sample))
    return np.stack(prepared), truths


def golden(spec: str | None, dataset: Dataset, card: Card, feed: Feed, count: int) -> list[tuple[str, Raw]]:
    """Raw inputs that a bundle may carry, by name: those of the validation data, or of `spec`, where the validation
    data may not be passed on. A classifier gets three times as many as asked for, to choose from.

    Args:
        spec: a data set of pictures, whatever its classes (`scenes`), or a file with a text on each line.

    Raises:
        DataError: nothing that the model could be given.
    """
    if spec is not None and feed.is_text and Path(spec).is_file() and Path(spec).suffix == ".txt":
        texts = [(f"line {line.index + 1}", line.text) for line in iter(Lines.open(spec).read, None)]
        if not texts:
            raise DataError(f"golden texts {spec}: the file holds none")
        return texts
    source = dataset if spec is None else open_dataset(spec)
    if (source.task == "text") != feed.is_text:
        raise DataError(f"golden samples of {source.source.name} are not what the model takes: give another --golden")
    known = source.task == card.task and set(card.labels) <= set(source.classes)
    chosen = _spread(source, card.labels[0], count) if known and card.task == "segment" else None
    if chosen is None:
        labels = source.labels(source.checked)
        chosen = _balanced(labels, count if card.task == "segment" else 3 * count, 0)
    return [(sample.name, raw_of(sample)) for sample in (source.load(source.checked, index) for index in chosen)]


def _spread(dataset: Dataset, label: str, count: int) -> list[int]:
    """From the picture with least to the one with most of a class, evenly spaced between."""
    total = len(dataset.names(dataset.checked))
    target = dataset.classes.index(label)
    shares = []
    for index in range(0, total, max(1, total // 40)):
        sample = dataset.load(dataset.checked, index)
        assert isinstance(sample, LabelledImage)
        shares.append((float(np.mean(sample.labels == target)), index))
    shares.sort()
    places = np.linspace(0, len(shares) - 1, min(count, len(shares))).round().astype(int)
    return [shares[place][1] for place in dict.fromkeys(places.tolist())]


def clear(outputs: NDArray[np.float32], count: int) -> list[int]:
    """Which of a classifier's candidates become golden: those it is clear about, the hardest of them and the easiest,
    evenly spaced between; the clearest where too few are."""
    best = class_scores(outputs).max(axis=1)
    order = np.argsort(best, kind="stable")
    fitting = order[best[order] >= CLEAR]
    chosen = fitting if len(fitting) >= count else order[-count:]
    return sorted(chosen[np.linspace(0, len(chosen) - 1, min(count, len(chosen))).round().astype(int)].tolist())

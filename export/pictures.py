"""The pictures that export works with, all through the one `Preprocess`: calibration, validation, golden."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.datasets import Dataset, LabelledImage, open_dataset
from orilla.runtime.preprocess import Image, Preprocess, Preprocessor
from orilla.runtime.sources.images import Images
from orilla.runtime.sources.source import picture_files

LEAST_CALIBRATION = 8


@dataclass(frozen=True, slots=True)
class Calibration:
    """Prepared pictures whose value ranges a static quantiser sees."""

    source: str
    pictures: NDArray[np.uint8]
    """`[N,h,w,3]` uint8."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.pictures.tobytes()).hexdigest()


def calibration(spec: str, preprocess: Preprocess, count: int, seed: int) -> Calibration:
    """Draws `count` pictures from the training split of a data set, or from a folder of pictures.

    Raises:
        DataError: too few pictures, or pictures without content.
    """
    preprocessor = Preprocessor(preprocess)
    images, name = _images(spec, count, seed)
    prepared = np.stack([preprocessor(image).copy() for image in images])
    _check_content(prepared, spec)
    return Calibration(name, prepared)


def _images(spec: str, count: int, seed: int) -> tuple[list[Image], str]:
    files = picture_files(Path(spec)) if Path(spec).is_dir() else []
    if files:
        source = Images.open([files[index] for index in _draw(len(files), count, seed)], spec)
        return [frame.image for frame in iter(source.read, None)], "pictures"
    dataset = open_dataset(spec)
    if "train" not in dataset.splits:
        raise DataError(f"calibration needs the train/ split of {spec}: calibrate on other pictures than are checked")
    chosen = _draw(len(dataset.names("train")), count, seed)
    return [dataset.load("train", index).image for index in chosen], f"{dataset.source.name} train"


def _draw(available: int, count: int, seed: int) -> list[int]:
    if available < LEAST_CALIBRATION:
        raise DataError(f"calibration set has {available} pictures: give {LEAST_CALIBRATION} or more")
    return sorted(np.random.default_rng(seed).permutation(available)[:count].tolist())


def _check_content(prepared: NDArray[np.uint8], spec: str) -> None:
    spread = prepared.reshape(len(prepared), -1).std(axis=1)
    if float(spread.max()) < 1.0:
        raise DataError(f"calibration pictures in {spec} are all of one colour: give real ones")


@dataclass(frozen=True, slots=True)
class Truth:
    """The labels of one validation picture."""

    name: str
    labels: NDArray[np.uint8]
    """`[H,W]`, at the picture's own size."""


def validation(dataset: Dataset, preprocess: Preprocess, limit: int | None) -> tuple[NDArray[np.uint8], list[Truth]]:
    """The validation split: pictures prepared, `[N,h,w,3]` uint8, and their labels."""
    preprocessor = Preprocessor(preprocess)
    prepared, truths = [], []
    for index in range(len(dataset.names("val")[:limit])):
        sample = dataset.load("val", index)
        prepared.append(preprocessor(sample.image).copy())
        truths.append(Truth(sample.name, sample.labels))
    return np.stack(prepared), truths


def golden(dataset: Dataset, label: str, count: int) -> list[LabelledImage]:
    """Validation pictures from the one with least to the one with most of the class, evenly spaced between."""
    target = dataset.classes.index(label)
    candidates = range(0, len(dataset.names("val")), max(1, len(dataset.names("val")) // 40))
    shares = sorted((float(np.mean(dataset.load("val", i).labels == target)), i) for i in candidates)
    places = np.linspace(0, len(shares) - 1, min(count, len(shares))).round().astype(int)
    return [dataset.load("val", shares[place][1]) for place in dict.fromkeys(places.tolist())]

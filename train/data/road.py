"""Batches of road images. Worker threads decode, crop and prepare them in a seeded order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.evaluation.datasets import Dataset, LabelledImage
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.preprocessing.image import Image, Preprocess, prepare
from orilla.train.data.augment import RandomLight, RandomMirror, apply
from orilla.train.data.batches import CACHE_BYTES, Epoch
from orilla.train.data.by_class import GROUND, SHADED, SKIES, mix_classes, numbers, relight, shade

CLOSE_UPS = 0.12
"""Share of rotated close-ups, which teach the network to know the road by its surface and not only by its position."""

AROUND_ROAD = 0.6
"""Share of the close-ups that are centred on the road. The others show anything, also surfaces like a road."""

Labels = NDArray[np.uint8]

FRACTION, COUNTED, CLASS = range(3)
"""Channels of a target: share of the cell that is road, share that is labelled, class at its centre."""


@dataclass
class RoadData:
    """Training samples of a data set, from which batches are made."""

    dataset: Dataset
    items: Sequence[Item]
    label: str
    preprocess: Preprocess
    grid_hw: tuple[int, int]
    """Height and width of the network's output."""
    batch: int
    seed: int
    augment: bool = True
    """True changes light, crops, rotates and mirrors the images; False leaves them unchanged."""
    _cache: dict[int, LabelledImage] = field(default_factory=dict, repr=False)
    _cached_bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.items)

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the seed and the number of the epoch."""
        return _Epoch(self, number, workers)

    def sample(self, index: int) -> LabelledImage:
        """Return one training sample, from memory if it was kept."""
        sample = self._cache.get(index)
        if sample is None:
            loaded = self.dataset.load(*self.items[index])
            assert isinstance(loaded, LabelledImage)
            sample = loaded
            size = sample.image.nbytes + sample.labels.nbytes
            if self._cached_bytes + size <= CACHE_BYTES:
                self._cached_bytes += size
                self._cache[index] = sample
        return sample


class _Epoch(Epoch):
    def __init__(self, data: RoadData, number: int, workers: int) -> None:
        super().__init__(data.count, data.batch, data.seed, number, workers)
        self._data = data

    def make(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        data = self._data
        chosen, rng = self.chosen(index)
        target = data.dataset.classes.index(data.label)
        samples = [data.sample(int(i)) for i in chosen]
        views = [_view(one, target, data, rng) if data.augment else (one.image, one.labels) for one in samples]
        size = data.preprocess.size_hw[::-1]
        images = np.stack([prepare(image, data.preprocess) for image, _ in views])
        labels = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_NEAREST_EXACT) for _, one in views])
        if data.augment:
            classes = data.dataset.classes
            images, labels = mix_classes(images, labels, data.dataset.ignore, numbers(classes, GROUND), rng)
            images = shade(images, labels, numbers(classes, SHADED), rng)
            images = relight(images, labels, numbers(classes, SKIES), rng)
        truths = np.stack([truth(one, target, data.dataset.ignore, data.grid_hw) for one in labels])
        if not data.augment:
            return images.astype(np.float32), truths
        seed = int(rng.integers(1 << 31))
        mirrored = MIRROR((images.astype(np.float32), truths), seed=seed)
        images, truths = (keras.ops.convert_to_numpy(one) for one in mirrored)
        return apply(LIGHT, images, seed + 1), truths


LIGHT, MIRROR = RandomLight(dtype="float32"), RandomMirror(dtype="float32")


def _view(sample: LabelledImage, target: int, data: RoadData, rng: np.random.Generator) -> tuple[Image, Labels]:
    if rng.random() < CLOSE_UPS:
        return close_up(sample, target, data.dataset.ignore, data.preprocess.size_hw, rng)
    return crop(sample, rng)


def crop(sample: LabelledImage, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Return a random part of an image with its labels: 50–100 % of its height, aspect changed by up to a fifth."""
    height, width = sample.labels.shape
    scale = rng.uniform(0.5, 1.0)
    rows = max(1, round(height * scale))
    columns = max(1, min(width, round(width * scale * rng.uniform(0.8, 1.25))))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    part = (slice(top, top + rows), slice(left, left + columns))
    return sample.image[part], sample.labels[part]


def close_up(
    sample: LabelledImage, target: int, ignore: int, size_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Return a small part of an image, rotated by any angle, as a camera that looks down sees it.

    The part has 15–50 % of the height of the image and mostly surrounds a pixel of the class `target`. Pixels outside
    the image get the label `ignore`.
    """
    height, width = sample.labels.shape
    rows, columns = np.nonzero(sample.labels == target)
    around = len(rows) > 0 and rng.random() < AROUND_ROAD
    if around:
        pick = rng.integers(len(rows))
        middle = (float(columns[pick]), float(rows[pick]))
    else:
        middle = (rng.uniform(0, width), rng.uniform(0, height))
    zoom = size_hw[0] / (height * rng.uniform(0.15, 0.5))
    turn = cv2.getRotationMatrix2D(middle, rng.uniform(0, 360) if around else rng.uniform(-30, 30), zoom)
    turn[:, 2] += np.array([size_hw[1] / 2, size_hw[0] / 2]) - middle
    size = size_hw[::-1]
    image = cv2.warpAffine(sample.image, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    labels = cv2.warpAffine(sample.labels, turn, size, flags=cv2.INTER_NEAREST, borderValue=ignore)
    return image, labels


def truth(labels: Labels, target: int, ignore: int, grid_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return the target of the network: `[h,w,3]` float32, channels `FRACTION`, `COUNTED`, `CLASS`."""
    size = grid_hw[::-1]
    counted = cv2.resize((labels != ignore).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    found = cv2.resize((labels == target).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    middle = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    fraction = np.divide(found, counted, out=np.zeros_like(found), where=counted > 0)
    return np.stack([fraction, counted, middle.astype(np.float32)], axis=-1)

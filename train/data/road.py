"""Batches of road images. Worker threads decode, crop and prepare the images; a seed determines their order."""

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
from orilla.train.data.augment import BatchChange, RandomMirror, apply
from orilla.train.data.batches import CACHE_BYTES, Epoch
from orilla.train.data.by_class import GROUND, SHADED, SKIES, class_indices, mix_classes, relight, shade

CLOSE_UPS = 0.12
"""Share of samples that are rotated close-ups. The network learns the texture of road surfaces from them."""

AROUND_ROAD = 0.6
"""Share of the close-ups whose centre is a pixel of the road. The others are centred anywhere, so that they also show
surfaces similar to a road."""

Labels = NDArray[np.uint8]

FRACTION, COUNTED, CLASS = range(3)
"""Channels of the training target. They contain for each cell of the grid the share of road among its labelled pixels,
the share of labelled pixels, and the class at its centre."""


@dataclass
class RoadData:
    """The training data of the road model."""

    dataset: Dataset
    items: Sequence[Item]
    label: str
    preprocess: Preprocess
    grid_hw: tuple[int, int]
    """Height and width of the network's output."""
    batch: int
    seed: int
    augment: BatchChange | None = None
    """Layer that changes the lighting of the images. If it is set, the images are also cropped, rotated and flipped. If
    it is None, there is no augmentation."""
    _cache: dict[int, LabelledImage] = field(default_factory=dict, repr=False)
    _cached_bytes: int = 0

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.items)

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the seed and the number of the epoch."""
        return RoadEpoch(self, number, workers)

    def sample(self, index: int) -> LabelledImage:
        """Load one training sample, or return it from the cache."""
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


class RoadEpoch(Epoch):
    """The batches of one epoch of the road model."""

    def __init__(self, data: RoadData, number: int, workers: int) -> None:
        super().__init__(data.count, data.batch, data.seed, number, workers)
        self._data = data
        self._target = data.dataset.classes.index(data.label)

    def make_batch(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the images `[N,H,W,3]` and the targets `[N,h,w,3]` of one batch."""
        data = self._data
        indices, rng = self.choose(index)
        samples = [data.sample(int(i)) for i in indices]
        views = [self._view(sample, rng) for sample in samples]
        size = data.preprocess.size_hw[::-1]
        images = np.stack([prepare(image, data.preprocess) for image, _ in views])
        labels = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) for _, mask in views])
        if data.augment is None:
            return images.astype(np.float32), self._truths(labels)
        classes = data.dataset.classes
        images, labels = mix_classes(images, labels, data.dataset.ignore, class_indices(classes, GROUND), rng)
        images = shade(images, labels, class_indices(classes, SHADED), rng)
        images = relight(images, labels, class_indices(classes, SKIES), rng)
        seed = int(rng.integers(1 << 31))
        mirrored = MIRROR((images.astype(np.float32), self._truths(labels)), seed=seed)
        mirrored_images, mirrored_truths = (keras.ops.convert_to_numpy(array) for array in mirrored)
        return apply(data.augment, mirrored_images, seed + 1), mirrored_truths

    def _view(self, sample: LabelledImage, rng: np.random.Generator) -> tuple[Image, Labels]:
        data = self._data
        if data.augment is None:
            return sample.image, sample.labels
        if rng.random() < CLOSE_UPS:
            return close_up(sample, self._target, data.dataset.ignore, data.preprocess.size_hw, rng)
        return crop(sample, rng)

    def _truths(self, labels: Labels) -> NDArray[np.float32]:
        return np.stack([truth(mask, self._target, self._data.dataset.ignore, self._data.grid_hw) for mask in labels])


MIRROR = RandomMirror()


def crop(sample: LabelledImage, rng: np.random.Generator) -> tuple[Image, Labels]:
    """Return a random part of an image with its labels.

    The part has 50-100 % of the image's height. Its aspect ratio differs by up to 25 % from the image's.
    """
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
    """Return a small part of an image with its labels, rotated to resemble the view of a camera that points down.

    The part has 15-50 % of the image's height. Its centre is usually a pixel of the class `target`. Pixels from outside
    the image get the label `ignore`.
    """
    height, width = sample.labels.shape
    rows, columns = np.nonzero(sample.labels == target)
    on_target = len(rows) > 0 and rng.random() < AROUND_ROAD
    if on_target:
        pick = rng.integers(len(rows))
        centre = (float(columns[pick]), float(rows[pick]))
    else:
        centre = (rng.uniform(0, width), rng.uniform(0, height))
    zoom = size_hw[0] / (height * rng.uniform(0.15, 0.5))
    turn = cv2.getRotationMatrix2D(centre, rng.uniform(0, 360) if on_target else rng.uniform(-30, 30), zoom)
    turn[:, 2] += np.array([size_hw[1] / 2, size_hw[0] / 2]) - centre
    size = size_hw[::-1]
    image = cv2.warpAffine(sample.image, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    labels = cv2.warpAffine(sample.labels, turn, size, flags=cv2.INTER_NEAREST, borderValue=ignore)
    return image, labels


def truth(labels: Labels, target: int, ignore: int, grid_hw: tuple[int, int]) -> NDArray[np.float32]:
    """Return the training target, `[h,w,3]` float32, with the channels `FRACTION`, `COUNTED` and `CLASS`."""
    size = grid_hw[::-1]
    counted = cv2.resize((labels != ignore).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    matching = cv2.resize((labels == target).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    centres = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    fraction = np.divide(matching, counted, out=np.zeros_like(matching), where=counted > 0)
    return np.stack([fraction, counted, centres.astype(np.float32)], axis=-1)

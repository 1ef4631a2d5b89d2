"""Batches of images with a class per pixel.

Worker threads crop and prepare the images; a seed determines their order.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.evaluation.datasets import LabelledImage
from orilla.runtime.preprocessing.image import Image, prepare
from orilla.train.data.augment import RandomMirror, apply
from orilla.train.data.batches import Epoch, ImageData
from orilla.train.data.by_class import mix_classes

Labels = NDArray[np.uint8]

MIRROR = RandomMirror()

SMALLEST = 0.65
"""Smallest height of a random crop, as a share of the image's height. In smaller crops, thin objects would appear much
larger than in the frames that the network receives later."""


@dataclass
class SegmentData(ImageData):
    """The training data of a segmentation model for all classes."""

    grid_hw: tuple[int, int] = field(kw_only=True)
    """Height and width of the network's output."""

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the seed and the number of the epoch."""
        return SegmentEpoch(self, number, workers)

    def sample(self, index: int) -> LabelledImage:
        """Load one training sample, or return it from the cache."""
        sample = self.samples[index]
        assert isinstance(sample, LabelledImage)
        return sample

    def view(self, sample: LabelledImage, rng: np.random.Generator) -> tuple[Image, Labels]:
        """Return a random crop of a sample. This method is called only with augmentation."""
        return crop(sample, rng, SMALLEST)

    def change(
        self, images: NDArray[np.uint8], labels: Labels, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Labels]:
        """Change the prepared images `[N,H,W,3]` and their labels `[N,H,W]`.

        This method is called only with augmentation.
        """
        return mix_classes(images, labels, self.dataset.ignore, (), rng)

    def truth(self, labels: Labels) -> NDArray[np.float32]:
        """Return the target of one image: the class at the centre of each cell, `[h,w,1]`."""
        centres = cv2.resize(labels, self.grid_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return np.asarray(centres, np.float32)[..., None]


class SegmentEpoch(Epoch):
    """The batches of one epoch of a segmentation model."""

    def __init__(self, data: SegmentData, number: int, workers: int) -> None:
        super().__init__(data.count, data.batch, data.seed, number, workers)
        if data.shares is not None:
            self._order = data.shares.draw(np.random.default_rng([data.seed, number]))
        self._data = data

    def make_batch(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the images `[N,H,W,3]` and the targets `[N,h,w,K]` of one batch."""
        data = self._data
        indices, rng = self.choose(index)
        samples = [data.sample(int(i)) for i in indices]
        augment = data.augment
        views = [(sample.image, sample.labels) if augment is None else data.view(sample, rng) for sample in samples]
        size = data.preprocess.size_hw[::-1]
        images = np.stack([prepare(image, data.preprocess) for image, _ in views])
        labels = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT) for _, mask in views])
        if augment is None:
            return images.astype(np.float32), self._truths(labels)
        images, labels = data.change(images, labels, rng)
        seed = int(rng.integers(1 << 31))
        mirrored = MIRROR((images.astype(np.float32), self._truths(labels)), seed=seed)
        mirrored_images, mirrored_truths = (keras.ops.convert_to_numpy(array) for array in mirrored)
        return apply(augment, mirrored_images, seed + 1), mirrored_truths

    def _truths(self, labels: Labels) -> NDArray[np.float32]:
        return np.stack([self._data.truth(mask) for mask in labels])


def crop(sample: LabelledImage, rng: np.random.Generator, smallest: float = 0.5) -> tuple[Image, Labels]:
    """Return a random crop of an image with its labels.

    The height of the crop is at least `smallest` times the height of the image. The aspect ratios of crop and image
    differ by up to 25 %.
    """
    height, width = sample.labels.shape
    scale = rng.uniform(smallest, 1.0)
    rows = max(1, round(height * scale))
    columns = max(1, min(width, round(width * scale * rng.uniform(0.8, 1.25))))
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    part = (slice(top, top + rows), slice(left, left + columns))
    return sample.image[part], sample.labels[part]

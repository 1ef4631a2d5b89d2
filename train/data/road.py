"""Training data of the road model. It adds close-ups, shadows and changes of light by class to `SegmentData`."""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.evaluation.datasets import LabelledImage
from orilla.runtime.preprocessing.image import Image
from orilla.train.data.by_camera import degrade
from orilla.train.data.by_class import GROUND, SHADED, SKIES, class_indices, mix_classes, relight, shade
from orilla.train.data.segment import Labels, SegmentData, crop

CLOSE_UPS = 0.12
"""Share of samples that are rotated close-ups. The network learns the texture of road surfaces from them."""

AROUND_ROAD = 0.6
"""Share of the close-ups whose centre is a pixel of the road. The other close-ups are centred anywhere, so that they
also show surfaces that look like a road."""

FRACTION, COUNTED, CLASS = range(3)
"""Channels of the training target for each cell of the grid: the share of road among the labelled pixels, the share of
labelled pixels, and the class at the centre."""


@dataclass
class RoadData(SegmentData):
    """The training data of a model for one class."""

    label: str = "road"

    @classmethod
    def of(cls, data: SegmentData, label: str) -> RoadData:
        """Return the training data of a model for one class, made from the data of a model for all classes."""
        settings = {field.name: getattr(data, field.name) for field in fields(data) if field.init}
        return cls(**settings, label=label)

    @property
    def target(self) -> int:
        """Index of the class."""
        return self.dataset.classes.index(self.label)

    def view(self, sample: LabelledImage, rng: np.random.Generator) -> tuple[Image, Labels]:
        """Return a close-up or a random crop of a sample."""
        if rng.random() < CLOSE_UPS:
            return close_up(sample, self.target, self.dataset.ignore, self.preprocess.size_hw, rng)
        return crop(sample, rng)

    def change(
        self, images: NDArray[np.uint8], labels: Labels, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], Labels]:
        """Copy objects between the images, change shadows and the light on each class, and degrade the images."""
        classes = self.dataset.classes
        images, labels = mix_classes(images, labels, self.dataset.ignore, class_indices(classes, GROUND), rng)
        images = shade(images, labels, class_indices(classes, SHADED), rng)
        images = relight(images, labels, class_indices(classes, SKIES), rng)
        return degrade(images, rng), labels

    def truth(self, labels: Labels) -> NDArray[np.float32]:
        """Return the training target of one image."""
        return truth(labels, self.target, self.dataset.ignore, self.grid_hw)


def close_up(
    sample: LabelledImage, target: int, ignore: int, size_hw: tuple[int, int], rng: np.random.Generator
) -> tuple[Image, Labels]:
    """Return a small, rotated crop of an image and its labels, to imitate a camera that points down.

    The crop has 15-50 % of the image's height. Its centre is usually a pixel of the class `target`. Pixels from outside
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

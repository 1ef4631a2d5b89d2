"""Batches of images with boxes. Worker threads crop and prepare the images; a seed determines their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.evaluation.datasets import BoxedImage
from orilla.runtime.preprocessing.image import Image, prepare
from orilla.runtime.tasks.heads.head import Floats, HeadSpec
from orilla.runtime.tasks.heads.ssd_anchors import HEAD, anchors_of
from orilla.train.data.anchors import targets
from orilla.train.data.augment import apply
from orilla.train.data.batches import Epoch, ImageData

SCALE = (0.5, 1.4)
"""Smallest and largest size of a random crop, relative to the image. A crop that is larger than the image gets a
border."""

ASPECT = 1.25
"""Largest factor between the aspect ratios of the crop and the image."""

KEPT = 0.5
"""Smallest share of a box that must lie in the crop. If less is inside, the visible rest is marked as a crowd."""

ATTEMPTS = 8
"""Maximum number of random crops to try until one contains a box. If no crop contains a box, the whole image is
used."""


class Boxes(NamedTuple):
    """The objects of one image."""

    boxes_xyxy: Floats
    """Left, top, right and bottom edge in pixels, `[N,4]`."""
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]


@dataclass
class DetectData(ImageData):
    """The training data of a detector."""

    head: HeadSpec = field(kw_only=True)
    """Layout of the network's outputs, with the anchors."""

    def epoch(self, number: int, *, workers: int) -> keras.utils.PyDataset:
        """Return the batches of one epoch. They depend only on the seed and the number of the epoch."""
        return DetectEpoch(self, number, workers)

    def sample(self, index: int) -> BoxedImage:
        """Load one training sample, or return it from the cache."""
        sample = self.samples[index]
        assert isinstance(sample, BoxedImage)
        return sample

    def view(self, sample: BoxedImage, rng: np.random.Generator) -> tuple[Image, Boxes]:
        """Return an image and its boxes.

        With augmentation, the image is a random crop of the sample, and may be flipped.
        """
        boxes = Boxes(sample.boxes_xyxy, sample.classes, sample.crowd)
        if self.augment is None:
            return sample.image, boxes
        image, boxes = window(sample.image, boxes, self.preprocess.fill, rng)
        return mirrored(image, boxes) if rng.random() < 0.5 else (image, boxes)

    def truth(self, boxes: Boxes, frame_hw: tuple[int, int]) -> Floats:
        """Return the target `[A,5]` of an image. See `targets`."""
        placement, input_hw = self.preprocess.placement(frame_hw), self.preprocess.size_hw
        placed = placement.to_input(boxes.boxes_xyxy.reshape(-1, 2, 2)).reshape(-1, 4).astype(np.float32)
        anchors, variances = anchors_of(self.head, input_hw), HEAD.option(self.head, "variances")
        return targets(anchors, placed, boxes.classes, boxes.crowd, variances)


class DetectEpoch(Epoch):
    """The batches of one epoch of a detector."""

    def __init__(self, data: DetectData, number: int, workers: int) -> None:
        super().__init__(data.count, data.batch, data.seed, number, workers)
        self._data = data

    def make_batch(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the images `[N,H,W,3]` and the targets `[N,A,5]` of one batch."""
        data = self._data
        indices, rng = self.choose(index)
        views = [data.view(data.sample(int(i)), rng) for i in indices]
        images = np.stack([prepare(image, data.preprocess) for image, _ in views]).astype(np.float32)
        truths = np.stack([data.truth(boxes, (image.shape[0], image.shape[1])) for image, boxes in views])
        if data.augment is not None:
            images = apply(data.augment, images, int(rng.integers(1 << 31)))
        return images, truths


def window(
    image: Image, boxes: Boxes, fill: int | tuple[int, int, int], rng: np.random.Generator
) -> tuple[Image, Boxes]:
    """Return a random crop of an image and the boxes in this crop.

    The crop may extend beyond the image. If the image has boxes that are not crowds, the crop contains at least one of
    them.

    Args:
        image: Image, `[H,W,3]`.
        boxes: The boxes in the image.
        fill: Value of the pixels outside the image.
        rng: The source of random numbers.
    """
    height, width = image.shape[:2]
    for _ in range(ATTEMPTS):
        scale = float(np.exp(rng.uniform(*np.log(SCALE))))
        stretch = float(np.exp(rng.uniform(-0.5, 0.5) * np.log(ASPECT)))
        size = max(8, round(width * scale * stretch)), max(8, round(height * scale / stretch))
        left, top = (
            int(rng.integers(min(0, full - part), max(0, full - part) + 1))
            for full, part in zip((width, height), size, strict=True)
        )
        inside = cut(boxes, (left, top, left + size[0], top + size[1]))
        if boxes.crowd.all() or not inside.crowd.all():
            return _part(image, (left, top), size, fill), inside
    return image, boxes


def cut(boxes: Boxes, part_xyxy: tuple[int, int, int, int]) -> Boxes:
    """Return the boxes in a crop of an image, clipped to the crop. Boxes that are mostly outside become crowds."""
    left, top, right, bottom = part_xyxy
    clipped = np.clip(boxes.boxes_xyxy, [left, top, left, top], [right, bottom, right, bottom]).astype(np.float32)
    area, visible = ((box[:, 2:] - box[:, :2]).prod(axis=1) for box in (boxes.boxes_xyxy, clipped))
    kept = visible > 0
    crowd = boxes.crowd | (visible < KEPT * area)
    offset = np.array([left, top, left, top], np.float32)
    return Boxes((clipped - offset)[kept], boxes.classes[kept], crowd[kept])


def mirrored(image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """Return an image and its boxes flipped horizontally."""
    flipped = boxes.boxes_xyxy.copy()
    flipped[:, [0, 2]] = image.shape[1] - boxes.boxes_xyxy[:, [2, 0]]
    return np.ascontiguousarray(image[:, ::-1]), boxes._replace(boxes_xyxy=flipped)


def _part(
    image: Image, corner_xy: tuple[int, int], size_wh: tuple[int, int], fill: int | tuple[int, int, int]
) -> Image:
    """Return the crop with a given top left corner and size. Pixels outside the image get the value `fill`."""
    (left, top), (width, height) = corner_xy, size_wh
    above, before = max(0, -top), max(0, -left)
    below, after = max(0, top + height - image.shape[0]), max(0, left + width - image.shape[1])
    inside = image[max(0, top) : top + height, max(0, left) : left + width]
    value = (fill,) * 3 if isinstance(fill, int) else fill
    part: Image = cv2.copyMakeBorder(inside, above, below, before, after, cv2.BORDER_CONSTANT, value=value)
    return part

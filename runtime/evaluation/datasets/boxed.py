"""Base class of data sets that have boxes around the objects of each image."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import counted
from orilla.devices.text_files import lines_of
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import BoxedImage, Dataset, require_split
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.image_orientation import orientation_of

TOLERANCE = 1.0
"""Boxes that extend beyond their image by at most this number of pixels are clipped without a note, because rounding
can cause such boxes."""

MAX_MISSING = 0.1
"""Maximum share of the annotated images that may be missing. If more are missing, the annotations probably belong to
other images."""


Box = tuple[float, float, float, float]
"""Left, top, right and bottom edge in pixels, or as fractions of the image size."""


class Row(NamedTuple):
    """A box as stated in an annotation file."""

    origin: str
    """Position of the box in the file, for messages, such as `annotation 7` or `line 3`."""
    cls: int
    """Index of the class."""
    box_xyxy: Box
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image file and its boxes."""

    name: str
    """Name, unique within its split."""
    file: tree.Folder
    annotations: str
    """Name of the file with the boxes, for messages."""
    rows: Sequence[Row]
    size_hw: tuple[int, int] | None = None
    """Height and width in pixels, if the annotations state them."""


class Boxed(Dataset):
    """Base class of data sets that consist of image files with boxes."""

    task = "detect"
    normalised = False
    """True if the boxes of `samples` are fractions of the image size."""
    missing: Sequence[str] = ()
    """Names of the annotated images that do not exist. Implementations set it when they read `samples`."""

    @property
    @abstractmethod
    def samples(self) -> Mapping[str, Sequence[AnnotatedImage]]:
        """Return the samples of each split. Implementations read the files only once."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self.samples)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        require_split(self, split)
        return tuple(sample.name for sample in self.samples[split])

    def load(self, split: str, index: int) -> BoxedImage:
        """Load one sample. Boxes are clipped to the image, and boxes with no area are dropped.

        Raises:
            DataError: The image is damaged, its size differs from the annotated size, or a box is invalid.
        """
        require_split(self, split)
        sample = self.samples[split][index]
        image = tree.decoded(sample.file)
        check_size(sample, image)
        boxes = fitted(sample, image.shape[:2], normalised=self.normalised)
        return BoxedImage(sample.name, image, boxes.boxes_xyxy, boxes.classes, boxes.crowd)

    def content(self, split: str, index: int) -> bytes:
        """Return the stored bytes of a sample's input."""
        return tree.read(self.samples[split][index].file)

    def truth(self, split: str, index: int) -> bytes:
        """Return the boxes of a sample as text."""
        rows = ((row.cls, *row.box_xyxy, row.crowd) for row in self.samples[split][index].rows)
        return "\n".join(",".join(map(repr, row)) for row in rows).encode()

    def notes(self) -> list[str]:
        """Return one line for each kind of correction to boxes, and one line about annotated images that are missing.

        Boxes are counted only if the annotations state the sizes of the images.
        """
        counts: Counter[str] = Counter()
        for samples in self.samples.values():
            for sample in samples:
                size_hw = (1, 1) if self.normalised else sample.size_hw
                if size_hw is not None:
                    boxes = fitted(sample, size_hw)
                    counts["exceed their image and are clipped"] += boxes.clipped
                    counts["have no area and are left out"] += boxes.empty
        notes = [f"{count} boxes {what}" for what, count in counts.items() if count]
        if self.missing:
            images = counted(len(self.missing), "image")
            notes.append(f"annotations of {images} are not used, because there is no file such as {self.missing[0]}")
        return notes


def require_images(missing: Sequence[str], count: int, annotations: str) -> None:
    """Raise `DataError` if more than `MAX_MISSING` of the annotated images are missing.

    Args:
        missing: Names of the missing images.
        count: Number of annotated images.
        annotations: Name of the annotations, for messages.
    """
    if len(missing) > MAX_MISSING * count:
        msg = (
            f"{annotations}: {len(missing)} of {count} annotated images do not exist, such as {missing[0]}: "
            "add them, or remove their annotations"
        )
        raise DataError(msg)


class _Fitted(NamedTuple):
    """The boxes of an image after clipping."""

    boxes_xyxy: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    clipped: int
    """Number of boxes that extend beyond the image by more than `TOLERANCE`."""
    empty: int
    """Number of boxes without area."""


def fitted(sample: AnnotatedImage, size_hw: tuple[int, int], *, normalised: bool = False) -> _Fitted:
    """Return the boxes of a sample in an image of this size.

    Args:
        sample: The sample.
        size_hw: Height and width of the image in pixels, or `(1, 1)` to keep fractions.
        normalised: True if the boxes of the sample are fractions, which are multiplied by the size.

    Raises:
        DataError: A box is not finite, has a negative size or lies outside the image.
    """
    limits = np.array([size_hw[1], size_hw[0]] * 2, np.float64)
    boxes = np.array([row.box_xyxy for row in sample.rows], np.float64).reshape(-1, 4)
    boxes = boxes * limits if normalised else boxes
    size = "" if size_hw == (1, 1) else f" of {size_hw[1]}x{size_hw[0]} pixels"
    _refuse(sample, boxes, ~np.isfinite(boxes), "has a coordinate that is not finite")
    _refuse(sample, boxes, boxes[:, 2:] < boxes[:, :2], "has a negative size")
    outside = np.concatenate([boxes[:, 2:] <= 0, boxes[:, :2] >= limits[:2]], axis=1)
    _refuse(sample, boxes, outside, f"lies outside the image{size}")
    clipped = np.clip(boxes, 0, limits)
    margin = 0.005 * limits.max() if size_hw == (1, 1) else TOLERANCE
    kept = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
    return _Fitted(
        clipped[kept].astype(np.float32),
        np.array([row.cls for row in sample.rows], np.int64)[kept],
        np.array([row.crowd for row in sample.rows], bool)[kept],
        int(np.count_nonzero((np.abs(boxes - clipped) > margin).any(axis=1))),
        int(np.count_nonzero(~kept)),
    )


def _refuse(sample: AnnotatedImage, boxes: NDArray[np.float64], wrong: NDArray[np.bool_], problem: str) -> None:
    """Raise `DataError` for the first box that is wrong. A box is wrong if its row of `wrong` contains True."""
    if wrong.any():
        index = int(np.flatnonzero(wrong.any(axis=1))[0])
        box = ", ".join(f"{value:g}" for value in boxes[index])
        msg = f"{sample.annotations}, {sample.rows[index].origin}: box [{box}] of {sample.name} {problem}: correct it"
        raise DataError(msg)


def check_size(sample: AnnotatedImage, image: Image) -> None:
    """Raise `DataError` if the size of an image differs from the size in its annotations."""
    if sample.size_hw is None or image.shape[:2] == sample.size_hw:
        return
    stated, actual = (f"{width}x{height}" for height, width in (sample.size_hw, image.shape[:2]))
    rotated = ""
    if image.shape[1::-1] == sample.size_hw:
        has_rotation = orientation_of(tree.read(sample.file)) > 1
        rotated = ": the image has a rotation in its EXIF data" if has_rotation else ": width and height are exchanged"
    msg = f"{sample.annotations} states {stated} pixels for {sample.name}, but the image has {actual}{rotated}"
    raise DataError(msg)


def by_split(samples: Sequence[AnnotatedImage], splits: Sequence[str | None]) -> dict[str, list[AnnotatedImage]]:
    """Divide samples into splits, in the order train, val, test.

    Args:
        samples: The samples.
        splits: The split of each sample. If the split of a sample is None, all samples are divided by their content.
    """
    divided: dict[str, list[AnnotatedImage]] = {"train": [], "val": [], "test": []}
    stated = None not in splits
    for sample, split in zip(samples, splits, strict=True):
        divided[split if stated and split else tree.split_of(tree.read(sample.file))].append(sample)
    return {split: found for split, found in divided.items() if found}


def class_names(data: bytes, name: str) -> tuple[str, ...]:
    """Return the class names in a text file with one name per line.

    Raises:
        DataError: The file is not UTF-8, is empty, has an empty line, or has a name twice.
    """
    return unique_names(lines_of(tree.decode_text(data, name)), name)


def unique_names(names: Sequence[str], file: str) -> tuple[str, ...]:
    """Return class names. Raise `DataError` if there are none, or if one is empty or occurs twice."""
    if not names or not all(names):
        problem = f"no name for class {list(names).index('')}" if names else "no class names"
        msg = f"{file} has {problem}: each line is a class, counted from 0: name it, or remove the empty line"
        raise DataError(msg)
    double = [name for name, count in Counter(names).items() if count > 1]
    if double:
        msg = f"{file} names the class {double[0]} twice: remove one, or rename it"
        raise DataError(msg)
    return tuple(names)

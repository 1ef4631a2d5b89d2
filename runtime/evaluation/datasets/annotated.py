"""Base of data sets whose boxes come from the files of an annotation tool, with class names instead of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Box, Boxed, Row, by_split, require_images


class NamedBox(NamedTuple):
    """A box as an annotation tool stores it."""

    origin: str
    """Position of the box in the file, for messages, such as `region 2`."""
    label: str
    box_xyxy: Box
    is_shape: bool = False
    """True if the file contains a different shape, such as a polygon, and the box surrounds it."""


class Annotated(NamedTuple):
    """The annotations of one image."""

    name: str
    """Name of the image, as the annotations state it."""
    file: tree.Folder | None
    """The image, or None if it does not exist."""
    annotations: str
    """Name of the file with the boxes, for messages."""
    boxes: Sequence[NamedBox]
    split: str = ""
    """Split that the folder or the name of the file states, or an empty string."""
    size_hw: tuple[int, int] | None = None
    """Height and width in pixels, if the annotations state them."""


class AnnotatedImages(Boxed):
    """Images with the boxes of an annotation tool. The classes are the names of the boxes in alphabetical order."""

    def __init__(self, images: Iterable[Annotated], name: str) -> None:
        """Describe the data set.

        Args:
            images: The images with their boxes.
            name: Name of the data set.

        Raises:
            DataError: No image has a box.
        """
        self._images = list(images)
        self.source = Source(readable(name), f"images and boxes of {readable(name)}", "not stated")
        labels = {box.label for image in self._images for box in image.boxes}
        if not labels:
            msg = f"no image of {readable(name)} has a box: mark some objects"
            raise DataError(msg)
        self.classes = tuple(sorted(labels))

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        samples: list[AnnotatedImage] = []
        splits: list[str | None] = []
        missing: list[str] = []
        indices = {label: index for index, label in enumerate(self.classes)}
        for image in self._images:
            name = readable(image.name)
            if image.file is None:
                missing.append(name)
                continue
            rows = [Row(box.origin, indices[box.label], box.box_xyxy) for box in image.boxes]
            samples.append(AnnotatedImage(name, image.file, readable(image.annotations), rows, image.size_hw))
            splits.append(image.split or None)
        require_images(missing, len(self._images), self._images[0].annotations)
        self.missing = missing
        return by_split(samples, splits)

    def notes(self) -> list[str]:
        """Return the notes of `Boxed`, and one line about shapes that are not boxes."""
        notes = super().notes()
        shapes = sum(box.is_shape for image in self._images for box in image.boxes)
        if shapes:
            notes.append(f"shapes other than rectangles are replaced by the boxes around them: {shapes}")
        return notes


def around(x: Sequence[float], y: Sequence[float]) -> Box | None:
    """Return the box around points, or None if there are no points, or if `x` and `y` differ in length."""
    return (min(x), min(y), max(x), max(y)) if x and len(x) == len(y) else None


def folders_by_split(top: tree.Folder) -> list[tuple[str, tree.Folder]]:
    """Return the split folders of a folder with their splits, or the folder itself with an empty string."""
    return [*tree.split_folders(top).items()] or [("", top)]


def stem_of(name: str) -> str:
    """Return the name of a file without its folders and its suffix. Folders may be separated as on Windows."""
    return Path(name.replace("\\", "/")).stem

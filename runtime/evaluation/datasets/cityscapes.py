"""Data set Cityscapes: `leftImg8bit/train/CITY/*_leftImg8bit.png` and `gtFine/train/CITY/*_gtFine_labelIds.png`.

Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding" (2016), and the table `labels` in
mcordts/cityscapesScripts, `helpers/labels.py`. The labels of its test images are not public.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit

LABEL_IDS = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Name of each class by its value in a `labelIds` image. Other values, 0 to 33, are ignored, as in the benchmark."""

MAX_ID = 33

IMAGE, LABELS = "_leftImg8bit", "_gtFine_labelIds"
"""Name endings of images and of label images."""

KNOWN = ("train", "val")
"""Splits whose labels are public."""


class CityscapesLabels(Pairs):
    """Base class of data sets whose label images have Cityscapes' values."""

    classes = tuple(LABEL_IDS.values())

    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of a label image into classes."""
        values = np.full(256, self.ignore, np.uint8)
        for index, value in enumerate(LABEL_IDS):
            values[value] = index
        if labels.dtype != np.uint8 or not set(np.unique(labels).tolist()) <= {*range(MAX_ID + 1), 255}:
            msg = f"{name} has the value {int(labels.max())}: the ids of Cityscapes are 0 to {MAX_ID}"
            raise DataError(msg)
        return values[labels]


class Cityscapes(CityscapesLabels):
    """Images of streets with 19 classes."""

    source = Source("cityscapes", "Cityscapes, fine annotations, 19 classes", "Cityscapes terms (non-commercial)")

    def __init__(self, top: tree.Folder) -> None:
        self._top = top

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample. The keys are the splits."""
        found: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {}
        for split in KNOWN:
            images = self._top / "leftImg8bit" / split
            for city in tree.folders(images) if images.is_dir() else []:
                for image in tree.files(city, (".png", ".jpg")):
                    stem = Path(image.name).stem.removesuffix(IMAGE)
                    labels = self._top / "gtFine" / split / city.name / f"{stem}{LABELS}.png"
                    if not labels.is_file():
                        msg = f"{image.name} has no label image {labels.name} in gtFine/{split}/{city.name}/"
                        raise DataError(msg)
                    found.setdefault(split, []).append((image, labels))
        if not found:
            msg = "leftImg8bit/train/ and leftImg8bit/val/ have no images in folders of cities"
            raise DataError(msg)
        return {split: found[split] for split in KNOWN if split in found}


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as Cityscapes, or None."""
    return None if _top(path) is None else "there are folders leftImg8bit/ and gtFine/ of Cityscapes"


def open_dataset(path: Path) -> Cityscapes:
    """Open the images and label images in a folder or zip."""
    return Cityscapes(tree.required(_top(path), path, "has no leftImg8bit/ and gtFine/"))


def _top(path: Path) -> tree.Folder | None:
    folders = tree.candidates(path)
    return next((top for top in folders if (top / "leftImg8bit").is_dir() and (top / "gtFine").is_dir()), None)

"""Data set CamVid in the SegNet layout: `train/ trainannot/ val/ valannot/`, as a folder or a zip.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video: a high-definition ground truth database" (2009);
the twelve-label version of Badrinarayanan et al., "SegNet" (2015).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit, pair_up

CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
UNLABELLED = 11
"""Label of pixels that belong to none of the classes."""

SEQUENCES = ("0001TP_", "0006R0_", "0016E5_", "Seq05VD_")
"""Name prefixes of CamVid's own images."""

PUBLISHED = Source("camvid", "CamVid, 480x360, twelve labels (SegNet layout)", "CC BY-NC 4.0 (research use)")


class CamVid(Pairs):
    """Pairs of an image and a label image whose names have the same stem."""

    classes = CLASSES
    ignore = UNLABELLED

    def __init__(self, root: tree.Folder, path: Path) -> None:
        self._root = root
        name = tree.name_of(root, path)
        own = Source(name, f"road scenes in {name}/, CamVid's twelve labels", "not stated")
        self.source = PUBLISHED if _published(root) else own

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample. The keys are the splits."""
        return {
            split: pair_up(self._root / split, self._root / f"{split}annot")
            for split in ("train", "val", "test")
            if (self._root / split).is_dir()
        }

    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of a label image into classes."""
        if int(labels.max()) > UNLABELLED:
            msg = f"label {int(labels.max())} in {name}: labels are 0 to {UNLABELLED}"
            raise DataError(msg)
        return labels


def _published(root: tree.Folder) -> bool:
    """Return True if the images have CamVid's own names. Other images in this layout may have another licence."""
    folders = (root / split for split in ("train", "val", "test"))
    return any(file.name.startswith(SEQUENCES) for folder in folders if folder.is_dir() for file in folder.iterdir())


def recognise(path: Path) -> bool:
    """Return True for a folder or zip with `trainannot/` or `valannot/`, possibly inside another folder."""
    return any((folder / f"{split}annot").is_dir() for folder in tree.candidates(path) for split in ("train", "val"))


def open_dataset(path: Path) -> CamVid:
    """Open the splits in a folder or zip. They may lie inside another folder."""
    for candidate in tree.candidates(path):
        if (candidate / "train").is_dir() or (candidate / "val").is_dir():
            dataset = CamVid(candidate, path)
            if dataset.splits:
                return dataset
    msg = f"not a data set: {path} has no train/ and trainannot/ (or val/ and valannot/) folders"
    raise DataError(msg)

"""Data set ADE20K of the scene parsing challenge: `images/training`, `annotations/training` and `objectInfo150.txt`.

The value of a pixel is the index of its class in `objectInfo150.txt`, counted from 1. Pixels with the value 0 are
ignored.

Source: Zhou et al., "Scene Parsing through ADE20K Dataset" (2017); CSAILVision/sceneparsing, README.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.text_files import lines_of
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit, pair_up

NAMES = "objectInfo150.txt"
"""File with the classes: a table with tabs, whose last column is the name."""


class Ade20k(Pairs):
    """Images of scenes with 150 classes."""

    source = Source("ade20k", "ADE20K, scene parsing, 150 classes", "ADE20K terms (images: non-commercial)")

    def __init__(self, top: tree.Folder) -> None:
        self._top = top
        rows = [line.split("\t") for line in lines_of(tree.decode_text(tree.read(top / NAMES), NAMES)) if line]
        numbered = [(int(row[0]), row[-1].split(",")[0].strip()) for row in rows if row[0].strip().isdecimal()]
        if [number for number, _ in numbered] != list(range(1, len(numbered) + 1)) or not 0 < len(numbered) < 255:
            msg = f"{NAMES} must list the classes from 1 in order, with tabs between the columns"
            raise DataError(msg)
        self.classes = tuple(name for _, name in numbered)

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample. The keys are the splits."""
        folders = {"train": "training", "val": "validation"}
        return {
            split: pair_up(self._top / "images" / name, self._top / "annotations" / name)
            for split, name in folders.items()
            if (self._top / "images" / name).is_dir()
        }

    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of a label image into classes."""
        if int(labels.max()) > len(self.classes):
            msg = f"{name} has the value {int(labels.max())}, but {NAMES} lists {len(self.classes)} classes"
            raise DataError(msg)
        return np.where(labels == 0, self.ignore, labels - 1).astype(np.uint8)


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as ADE20K, or None."""
    return None if _top(path) is None else f"there are images/, annotations/ and {NAMES} of ADE20K"


def open_dataset(path: Path) -> Ade20k:
    """Open the images and label images in a folder or zip. They may lie inside another folder."""
    return Ade20k(tree.required(_top(path), path, f"has no images/training, annotations/training and {NAMES}"))


def _top(path: Path) -> tree.Folder | None:
    for top in tree.candidates(path):
        if (top / NAMES).is_file() and all((top / part / "training").is_dir() for part in ("images", "annotations")):
            return top
    return None

"""Data set KITTI semantics: `training/image_2` and `training/semantic`, with Cityscapes' values.

Source: Alhaija et al., "Augmented Reality Meets Computer Vision" (2018), and the development kit of the benchmark. The
labels of its test images are not public, so every fifth training image is in `val`.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.cityscapes import CityscapesLabels
from orilla.runtime.evaluation.datasets.kitti import EVERY
from orilla.runtime.evaluation.datasets.pairs import PairsBySplit, pair_up


class KittiSemantics(CityscapesLabels):
    """Images of streets with the Cityscapes classes."""

    source = Source("kitti_semantics", "KITTI semantic segmentation, 19 classes", "CC BY-NC-SA 3.0")

    def __init__(self, top: tree.Folder) -> None:
        self._top = top

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample. The keys are the splits."""
        pairs = pair_up(self._top / "image_2", self._top / "semantic")
        val = pairs[EVERY - 1 :: EVERY]
        return {"train": [pair for pair in pairs if pair not in val], "val": val} if val else {"train": pairs}


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as KITTI semantics, or None."""
    return None if _top(path) is None else "there are folders training/image_2 and training/semantic of KITTI"


def open_dataset(path: Path) -> KittiSemantics:
    """Open the training images in a folder or zip. They may lie inside another folder."""
    return KittiSemantics(tree.required(_top(path), path, "has no training/image_2 and training/semantic"))


def _top(path: Path) -> tree.Folder | None:
    folders = (folder for candidate in tree.candidates(path) for folder in (candidate / "training", candidate))
    return next((top for top in folders if (top / "image_2").is_dir() and (top / "semantic").is_dir()), None)

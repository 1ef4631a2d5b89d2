"""Data set KITTI road: `training/image_2/um_000000.png`, `gt_image_2/um_road_000000.png` (`um_`, `umm_`, `uu_`).

Source: Fritsch, Kuehnl, Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms"
(2013). The labels of its test images are not public, so every fifth training image of each kind of scene is in `val`.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit

EVERY = 5
"""For each kind of scene, `val` contains one of every five images."""


class Kitti(Pairs):
    """KITTI road. Names start with the kind of scene, so metrics are also reported for each kind."""

    source = Source("kitti_road", "KITTI road", "CC BY-NC-SA 3.0")
    classes = ("background", "road")

    def __init__(self, top: tree.Folder) -> None:
        self._images, self._labels = top / "image_2", top / "gt_image_2"

    @cached_property
    def pairs(self) -> PairsBySplit:
        """Return the image and the label image of each sample. The keys are the splits."""
        pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {"train": [], "val": []}
        counts: Counter[str] = Counter()
        for image in tree.files(self._images, (".png",)):
            kind, _, number = image.name.partition("_")
            labels = self._labels / f"{kind}_road_{number}"
            if not labels.is_file():
                msg = f"images without labels: {image.name} exists, but {labels.name} does not: add the labels"
                raise DataError(msg)
            counts[kind] += 1
            pairs["train" if counts[kind] % EVERY else "val"].append((image, labels))
        if not pairs["train"]:
            msg = f"no images in {self._images.name}/"
            raise DataError(msg)
        return {split: files for split, files in pairs.items() if files}

    def read_labels(self, path: tree.Folder) -> NDArray[np.uint8]:
        """Return the labels.

        The blue channel of a label image marks the road, and the red channel marks all labelled pixels.
        """
        colours = tree.decoded(path)
        road, labelled = colours[..., 0] > 0, colours[..., 2] > 0
        return np.where(labelled, road, self.ignore).astype(np.uint8)

    def classes_of(self, labels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        """Convert the values of a label image into classes."""
        return labels


def recognise(path: Path) -> bool:
    """Return True for a folder or zip with `training/image_2` and `training/gt_image_2`, possibly inside a folder."""
    return _top(path) is not None


def open_dataset(path: Path) -> Kitti:
    """Open the training images in a folder or zip. They may lie inside another folder."""
    return Kitti(tree.required(_top(path), path, "has no training/image_2 and training/gt_image_2"))


def _top(path: Path) -> tree.Folder | None:
    folders = (folder for candidate in tree.candidates(path) for folder in (candidate / "training", candidate))
    return next(
        (folder for folder in folders if (folder / "image_2").is_dir() and (folder / "gt_image_2").is_dir()), None
    )

"""Data set KITTI road: `training/image_2/um_000000.png`, `gt_image_2/um_road_000000.png` (`um_`, `umm_`, `uu_`).

Source: Fritsch, Kuehnl, Geiger, "A New Performance Measure and Evaluation Benchmark for Road Detection Algorithms"
(2013). The labels of its test images are not public, so every fifth training image of each scene kind is `val`.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path

import numpy as np

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import LabelledImage, require_split
from orilla.runtime.evaluation.datasets.pairs import Pairs, PairsBySplit, size_error

EVERY = 5


class Kitti(Pairs):
    """KITTI road. Names start with the scene kind, so that metrics are reported for each."""

    source = Source("kitti_road", "KITTI road", "CC BY-NC-SA 3.0")
    classes = ("background", "road")

    def __init__(self, top: tree.Folder) -> None:
        self._images, self._labels = top / "image_2", top / "gt_image_2"

    @cached_property
    def pairs(self) -> PairsBySplit:
        pairs: dict[str, list[tuple[tree.Folder, tree.Folder]]] = {"train": [], "val": []}
        counts: Counter[str] = Counter()
        for image in tree.files(self._images, (".png",)):
            kind, _, number = image.name.partition("_")
            labels = self._labels / f"{kind}_road_{number}"
            if not labels.is_file():
                msg = f"images without labels: {image.name} exists, {labels.name} does not"
                raise DataError(msg)
            counts[kind] += 1
            pairs["train" if counts[kind] % EVERY else "val"].append((image, labels))
        if not pairs["train"]:
            msg = f"no images in {self._images.name}/"
            raise DataError(msg)
        return {split: files for split, files in pairs.items() if files}

    def load(self, split: str, index: int) -> LabelledImage:
        """Load a sample. The blue channel of a label image marks the road, the red channel all labelled pixels."""
        require_split(self, split)
        image_path, label_path = self.pairs[split][index]
        image, colours = tree.decoded(image_path), tree.decoded(label_path)
        if colours.shape != image.shape:
            raise size_error(image_path, image.shape, label_path, colours.shape[:2])
        labels = np.where(colours[..., 2] > 0, (colours[..., 0] > 0).astype(np.uint8), self.ignore)
        return LabelledImage(Path(image_path.name).stem, image, labels.astype(np.uint8))


def recognise(path: Path) -> bool:
    """Return True if `training/image_2` and `training/gt_image_2` exist, at the top or in the only folder."""
    return _top(path) is not None


def open_dataset(path: Path) -> Kitti:
    """Open the folder or zip at `path`, or its only folder."""
    top = _top(path)
    if top is None:
        msg = f"not a data set: {path} has no training/image_2 and training/gt_image_2"
        raise DataError(msg)
    return Kitti(top)


def _top(path: Path) -> tree.Folder | None:
    for candidate in tree.candidates(path):
        for at in (candidate / "training", candidate):
            if (at / "image_2").is_dir() and (at / "gt_image_2").is_dir():
                return at
    return None

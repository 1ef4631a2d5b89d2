"""CamVid road scenes in the SegNet layout: `train/ trainannot/ val/ valannot/`, as a folder or a zip.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video: a high-definition ground truth database"
(2009); the twelve-label version of Badrinarayanan et al., "SegNet" (2015).
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import cv2

from orilla.devices.errors import DataError
from orilla.runtime.datasets import tree
from orilla.runtime.datasets.labelled import Dataset, LabelledImage, Source, require_split

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
SUFFIXES = (".jpg", ".jpeg", ".png")


class CamVid(Dataset):
    """Reads pairs of a picture and a label image of the same stem."""

    source = Source("camvid", "CamVid, 480x360, twelve labels (SegNet layout)", "CC BY-NC 4.0 (research use)")
    task = "segment"
    classes = CLASSES
    ignore = UNLABELLED

    def __init__(self, root: tree.Folder) -> None:
        self._root = root

    @cached_property
    def _pairs(self) -> dict[str, tuple[tuple[tree.Folder, tree.Folder], ...]]:
        return {
            split: pair_up(self._root / split, self._root / f"{split}annot")
            for split in ("train", "val", "test")
            if (self._root / split).is_dir()
        }

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._pairs)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(Path(image.name).stem for image, _ in self._pairs[split])

    def load(self, split: str, index: int) -> LabelledImage:
        require_split(self, split)
        image_path, label_path = self._pairs[split][index]
        image = tree.picture(image_path)
        labels = tree.picture(label_path, cv2.IMREAD_UNCHANGED)
        if labels.shape != image.shape[:2]:
            raise size_error(image_path, image.shape, label_path, labels.shape)
        if int(labels.max()) > UNLABELLED:
            raise DataError(f"label {int(labels.max())} in {label_path.name}: labels are 0 to {UNLABELLED}")
        return LabelledImage(Path(image_path.name).stem, image, labels)

    def content(self, split: str, index: int) -> bytes:
        return tree.read(self._pairs[split][index][0])

    def truth(self, split: str, index: int) -> bytes:
        return tree.read(self._pairs[split][index][1])


def recognise(path: Path) -> bool:
    """Whether a folder or zip has a split beside its annotations, or inside its only folder."""
    return any((at / f"{split}annot").is_dir() for at in tree.candidates(path) for split in ("train", "val"))


def open_dataset(path: Path) -> CamVid:
    """Opens the folder or zip at `path`, or the single folder inside it."""
    for candidate in tree.candidates(path):
        if (candidate / "train").is_dir() or (candidate / "val").is_dir():
            dataset = CamVid(candidate)
            if dataset.splits:
                return dataset
    raise DataError(f"not a data set: {path} has no train/ and trainannot/ (or val/ and valannot/) folders")


def size_error(
    image: tree.Folder, image_shape: tuple[int, ...], labels: tree.Folder, shape: tuple[int, ...]
) -> DataError:
    """The error for labels that don't lie on their picture."""
    return DataError(
        f"labels {labels.name} are {list(shape)}, picture {image.name} is {list(image_shape[:2])}: "
        "they must have the same height and width, one channel"
    )


def pair_up(images: tree.Folder, labels: tree.Folder) -> tuple[tuple[tree.Folder, tree.Folder], ...]:
    """Pairs pictures and label images of the same stem; raises `DataError` where one has no other."""
    if not labels.is_dir():
        raise DataError(f"pictures without labels: {images.name}/ is there, {labels.name}/ is not")
    by_stem = [_by_stem(images), _by_stem(labels)]
    odd = sorted(by_stem[0].keys() ^ by_stem[1].keys())
    if odd:
        raise DataError(
            f"{len(by_stem[0])} pictures in {images.name}/ and {len(by_stem[1])} in {labels.name}/ don't match: "
            f"{odd[0]} is in one of them only ({len(odd)} such)"
        )
    if not by_stem[0]:
        raise DataError(f"no pictures in {images.name}/")
    return tuple((by_stem[0][stem], by_stem[1][stem]) for stem in sorted(by_stem[0]))


def _by_stem(folder: tree.Folder) -> dict[str, tree.Folder]:
    found: dict[str, tree.Folder] = {}
    for path in tree.files(folder, SUFFIXES):
        stem = Path(path.name).stem
        if stem in found:
            raise DataError(f"{found[stem].name} and {path.name} in {folder.name}/ have the same name: remove one")
        found[stem] = path
    return found

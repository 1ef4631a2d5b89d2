"""CamVid road scenes in the SegNet layout: `train/ trainannot/ val/ valannot/`, as a folder or a zip.

Source: Brostow, Fauqueur, Cipolla, "Semantic object classes in video: a high-definition ground truth database"
(2009); the twelve-label version of Badrinarayanan et al., "SegNet" (2015).
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.datasets.labelled import LabelledImage, Source, require_split
from orilla.runtime.picture import decode_picture

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

Folder = Path | zipfile.Path


class CamVid:
    """Reads pairs of a picture and a label image of the same stem."""

    source: ClassVar[Source] = Source(
        "camvid", "CamVid, 480x360, twelve labels (SegNet layout)", "CC BY-NC 4.0 (research use)"
    )
    classes: ClassVar[tuple[str, ...]] = CLASSES
    ignore: ClassVar[int] = UNLABELLED

    def __init__(self, root: Folder) -> None:
        self._root = root

    @cached_property
    def _pairs(self) -> dict[str, tuple[tuple[Folder, Folder], ...]]:
        return {
            split: _pair_up(self._root / split, self._root / f"{split}annot")
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
        image = _decode(image_path, cv2.IMREAD_COLOR)
        labels = _decode(label_path, cv2.IMREAD_UNCHANGED)
        if labels.shape != image.shape[:2]:
            raise DataError(
                f"labels {label_path.name} are {list(labels.shape)}, picture {image_path.name} is "
                f"{list(image.shape[:2])}: they must have the same height and width, one channel"
            )
        if int(labels.max()) > UNLABELLED:
            raise DataError(f"label {int(labels.max())} in {label_path.name}: labels are 0 to {UNLABELLED}")
        return LabelledImage(Path(image_path.name).stem, image, labels)

    def digest(self, split: str) -> str:
        require_split(self, split)
        total = hashlib.sha256()
        for pair in self._pairs[split]:
            for path in pair:
                total.update(hashlib.sha256(path.read_bytes()).digest())
        return total.hexdigest()


def open_dataset(path: Path) -> CamVid:
    """Opens the folder or zip at `path`, or the single folder inside it."""
    if not path.is_dir() and not (path.is_file() and zipfile.is_zipfile(path)):
        raise DataError(f"not a data set: {path} is neither a folder nor a zip")
    root: Folder = path if path.is_dir() else zipfile.Path(path)
    candidates = [root, *(child for child in root.iterdir() if child.is_dir())]
    for candidate in candidates:
        if (candidate / "train").is_dir() or (candidate / "val").is_dir():
            dataset = CamVid(candidate)
            if dataset.splits:
                return dataset
    raise DataError(f"not a data set: {path} has no train/ and trainannot/ (or val/ and valannot/) folders")


def _pair_up(images: Folder, labels: Folder) -> tuple[tuple[Folder, Folder], ...]:
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


def _by_stem(folder: Folder) -> dict[str, Folder]:
    found: dict[str, Folder] = {}
    for path in folder.iterdir():
        name = Path(path.name)
        if name.suffix.lower() not in SUFFIXES:
            continue
        if name.stem in found:
            raise DataError(f"{found[name.stem].name} and {name} in {folder.name}/ have the same name: remove one")
        found[name.stem] = path
    return found


def _decode(path: Folder, flags: int) -> NDArray[np.uint8]:
    try:
        picture = decode_picture(path.read_bytes(), flags)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"cannot read {path.name}: the zip is damaged: {error}") from error
    if picture is None:
        raise DataError(f"cannot decode {path}: not a picture, or damaged")
    return picture

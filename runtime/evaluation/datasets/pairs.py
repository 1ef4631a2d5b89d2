"""Base of data sets of images with label images."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import Dataset, require_split
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

PairsBySplit = dict[str, Sequence[tuple[tree.Folder, tree.Folder]]]
"""Image and label image of each sample, by split."""


class Pairs(Dataset):
    """Two files per sample."""

    task = "segment"

    @property
    @abstractmethod
    def pairs(self) -> PairsBySplit:
        """Return the files of the samples. They are listed once."""

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.pairs)

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(readable(Path(image.name).stem) for image, _ in self.pairs[split])

    def content(self, split: str, index: int) -> bytes:
        return tree.read(self.pairs[split][index][0])

    def truth(self, split: str, index: int) -> bytes:
        return tree.read(self.pairs[split][index][1])


def size_error(
    image: tree.Folder, image_shape: tuple[int, ...], labels: tree.Folder, shape: tuple[int, ...]
) -> DataError:
    """Return the error for labels of another size than their image."""
    return DataError(
        f"labels {labels.name} are {list(shape)}, image {image.name} is {list(image_shape[:2])}: "
        "they must have the same height and width, one channel"
    )


def pair_up(images: tree.Folder, labels: tree.Folder) -> tuple[tuple[tree.Folder, tree.Folder], ...]:
    """Pair images and label images of the same stem. Raises `DataError` if one has no partner."""
    if not labels.is_dir():
        msg = f"images without labels: {_home(images)} exists, {_home(labels)} does not: add it, or move the images"
        raise DataError(msg)
    by_stem = [_by_stem(images), _by_stem(labels)]
    odd = sorted(by_stem[0].keys() ^ by_stem[1].keys())
    if odd:
        msg = (
            f"{len(by_stem[0])} images in {images.name}/ and {len(by_stem[1])} in {labels.name}/ do not match: "
            f"{odd[0]} is in only one of them (one of {len(odd)})"
        )
        raise DataError(msg)
    if not by_stem[0]:
        msg = f"no images in {images.name}/"
        raise DataError(msg)
    return tuple((by_stem[0][stem], by_stem[1][stem]) for stem in sorted(by_stem[0]))


def _home(folder: tree.Folder) -> str:
    return "/".join(Path(str(folder)).parts[-2:]) + "/"


def _by_stem(folder: tree.Folder) -> dict[str, tree.Folder]:
    by_stem: dict[str, tree.Folder] = {}
    for path in tree.files(folder, IMAGE_SUFFIXES):
        stem = Path(path.name).stem
        if stem in by_stem:
            msg = f"{by_stem[stem].name} and {path.name} in {folder.name}/ have the same name: remove one"
            raise DataError(msg)
        by_stem[stem] = path
    return by_stem

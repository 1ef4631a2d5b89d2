"""What data sets of pictures with label images share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import Dataset, require_split
from orilla.runtime.preprocessing.image_file import PICTURES

PairsBySplit = dict[str, Sequence[tuple[tree.Folder, tree.Folder]]]
"""Picture and label image of each sample, by split."""


class Pairs(Dataset):
    """Two files for each sample."""

    task = "segment"

    @property
    @abstractmethod
    def pairs(self) -> PairsBySplit:
        """The samples' files; listed once."""

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
    """The error for labels that don't lie on their picture."""
    return DataError(
        f"labels {labels.name} are {list(shape)}, picture {image.name} is {list(image_shape[:2])}: "
        "they must have the same height and width, one channel"
    )


def pair_up(images: tree.Folder, labels: tree.Folder) -> tuple[tuple[tree.Folder, tree.Folder], ...]:
    """Pairs pictures and label images of the same stem; raises `DataError` where one has no other."""
    if not labels.is_dir():
        msg = f"pictures without labels: {_home(images)} is there, {_home(labels)} is not: add it, or move the pictures"
        raise DataError(msg)
    by_stem = [_by_stem(images), _by_stem(labels)]
    odd = sorted(by_stem[0].keys() ^ by_stem[1].keys())
    if odd:
        msg = (
            f"{len(by_stem[0])} pictures in {images.name}/ and {len(by_stem[1])} in {labels.name}/ don't match: "
            f"{odd[0]} is in one of them only ({len(odd)} such)"
        )
        raise DataError(msg)
    if not by_stem[0]:
        msg = f"no pictures in {images.name}/"
        raise DataError(msg)
    return tuple((by_stem[0][stem], by_stem[1][stem]) for stem in sorted(by_stem[0]))


def _home(folder: tree.Folder) -> str:
    return "/".join(Path(str(folder)).parts[-2:]) + "/"


def _by_stem(folder: tree.Folder) -> dict[str, tree.Folder]:
    found: dict[str, tree.Folder] = {}
    for path in tree.files(folder, PICTURES):
        stem = Path(path.name).stem
        if stem in found:
            msg = f"{found[stem].name} and {path.name} in {folder.name}/ have the same name: remove one"
            raise DataError(msg)
        found[stem] = path
    return found

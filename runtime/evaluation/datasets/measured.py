"""Base class of data sets that have numbers for each image, and the division of recordings into splits."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import Dataset, MeasuredImage, require_split

BLOCKS = {4: "val", 9: "test", 14: "val", 19: "test"}
"""Twentieths of a recording, counted from 0, that belong to `val` or `test`. All others belong to `train`, so `train`,
`val` and `test` get 80 %, 10 % and 10 %."""
BLOCK_COUNT = 20

MAX_GAP = 20
"""Maximum number of images that `train` omits where it borders on another split. It corresponds to one second at 20
images per second."""


@dataclass(frozen=True, slots=True)
class MeasuredFile:
    """An image file and its numbers."""

    name: str
    """Name, which is unique within the data set."""
    file: tree.Folder
    values: tuple[float, ...]


class Measured(Dataset):
    """Base class of data sets that consist of image files with numbers."""

    task = "regress"
    in_time_order = True

    @property
    @abstractmethod
    def samples(self) -> Mapping[str, Sequence[MeasuredFile]]:
        """Return the samples of each split. Implementations read the files only once."""

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self.samples)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        return tuple(sample.name for sample in self._of(split))

    def values(self, split: str) -> NDArray[np.float64]:
        """Return the numbers of a split, `[N,K]`."""
        return np.array([sample.values for sample in self._of(split)], np.float64)

    def load(self, split: str, index: int) -> MeasuredImage:
        """Load one sample. Raise `DataError` if the image is damaged."""
        sample = self._of(split)[index]
        return MeasuredImage(sample.name, tree.decoded(sample.file), np.array(sample.values, np.float64))

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of the image file."""
        return tree.read(self._of(split)[index].file)

    def truth(self, split: str, index: int) -> bytes:
        """Return the numbers as text."""
        return repr(self._of(split)[index].values).encode()

    def _of(self, split: str) -> Sequence[MeasuredFile]:
        require_split(self, split)
        return self.samples[split]


def by_time(recordings: Sequence[Sequence[MeasuredFile]]) -> tuple[dict[str, list[MeasuredFile]], int]:
    """Divide recordings into splits of consecutive images.

    Neighbouring images of a recording are almost equal. If they were in different splits, the metrics would be
    too optimistic. Each recording is therefore cut into twentieths, and images of `train` next to another split are
    omitted.

    Args:
        recordings: The samples of each recording in the order of time.

    Returns: The samples of each split, and the number of omitted samples.
    """
    divided: dict[str, list[MeasuredFile]] = {"train": [], "val": [], "test": []}
    for recording in recordings:
        for sample, split in zip(recording, _block_splits(len(recording)), strict=True):
            if split is not None:
                divided[split].append(sample)
    left_out = sum(map(len, recordings)) - sum(map(len, divided.values()))
    return {split: samples for split, samples in divided.items() if samples}, left_out


def _block_splits(count: int) -> list[str | None]:
    """Return the split of each image of a recording, or None for an omitted image."""
    splits: list[str | None] = [BLOCKS.get(index * BLOCK_COUNT // count, "train") for index in range(count)]
    gap = min(MAX_GAP, count // BLOCK_COUNT // 10)
    for index, split in enumerate(splits.copy()):
        if split not in ("train", None):
            near = range(max(0, index - gap), min(count, index + gap + 1))
            splits[near.start : near.stop] = [None if splits[place] == "train" else splits[place] for place in near]
    return splits


def left_out_note(count: int) -> list[str]:
    """Return the note about images that `by_time` omitted."""
    return (
        [f"{count} training images next to another split are left out, because they are similar to its images"]
        if count
        else []
    )


def image_at(top: tree.Folder, name: str, place: str) -> tree.Folder:
    """Return the image file that a row of a table names.

    Args:
        top: Folder to which the name is relative.
        name: Path of the image, relative to `top`.
        place: File and line that name the image, for messages.

    Raises:
        DataError: The path is not relative, or the file does not exist.
    """
    path = PurePosixPath(name)
    file = top.joinpath(*path.parts) if path.parts and not path.is_absolute() and ".." not in path.parts else None
    if file is None or not file.is_file():
        msg = f"{place}: there is no image {readable(name)[:100]!r}: correct the name, or remove the line"
        raise DataError(msg)
    return file

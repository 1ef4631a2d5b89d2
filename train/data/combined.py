"""A data set that also contains the training samples of other data sets. It implements `--extra-data`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item, require_split
from orilla.runtime.tasks.decoding import PLAIN, Decoding
from orilla.train.data.one_class import AsClass


class CombinedDataset(Dataset):
    """A data set whose training split also contains the training samples of other data sets.

    Args:
        first: The data set whose classes and validation samples are used.
        others: The data sets to add.
        label: The only class that the model finds. The added data sets may then have different classes; see `AsClass`.
            If None, all data sets must have the same classes.
        held_out: Index of the data set whose training samples are excluded, or None.

    Raises:
        DataError: The tasks or classes differ, or a data set to add has no training split.
    """

    def __init__(
        self, first: Dataset, others: Sequence[Dataset], label: str | None = None, held_out: int | None = None
    ) -> None:
        self.source, self.task, self.classes, self.ignore = first.source, first.task, first.classes, first.ignore
        self.in_time_order = first.in_time_order
        if label is not None:
            others = [AsClass(dataset, first, label) for dataset in others]
        for dataset in others:
            if (dataset.task, dataset.classes) != (first.task, first.classes):
                msg = (
                    f"cannot add {dataset.source.name} ({', '.join(dataset.classes)}) to {first.source.name} "
                    f"({', '.join(first.classes)}): their classes differ"
                )
                raise DataError(msg)
            if "train" not in dataset.splits:
                msg = f"cannot add {dataset.source.name}: it has no train split"
                raise DataError(msg)
        self.decoding = _joined([first, *others])
        self._datasets = [first, *others]
        self._splits = first.splits
        trained = [number for number in range(len(self._datasets)) if number != held_out]
        self._train = [
            (number, index) for number in trained for index in range(len(self._datasets[number].names("train")))
        ]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the first data set's splits."""
        return self._splits

    def parts_of(self, items: Sequence[Item]) -> NDArray[np.int64]:
        """Return the index of the data set to which each training sample belongs, `[N]`."""
        return np.array([self._train[index][0] for _, index in items], np.int64)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        require_split(self, split)
        if split != "train":
            return self._datasets[0].names(split)
        names = [dataset.names(split) for dataset in self._datasets]
        return tuple(names[number][index] for number, index in self._train)

    def labels(self, split: str) -> list[int]:
        """Return the class of each sample of a split."""
        if split != "train":
            return [*self._datasets[0].labels(split)]
        labels = [dataset.labels(split) for dataset in self._datasets]
        return [labels[number][index] for number, index in self._train]

    def values(self, split: str) -> NDArray[np.float64]:
        """Return the numbers `[N,K]` of a split's samples."""
        if split != "train":
            return self._datasets[0].values(split)
        values = [dataset.values(split) for dataset in self._datasets]
        return np.array([values[number][index] for number, index in self._train])

    def load(self, split: str, index: int) -> Sample:
        """Load a sample."""
        dataset, own_index = self._origin(split, index)
        return dataset.load(split, own_index)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample."""
        dataset, own_index = self._origin(split, index)
        return dataset.content(split, own_index)

    def truth(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's label or mask."""
        dataset, own_index = self._origin(split, index)
        return dataset.truth(split, own_index)

    def is_file(self, split: str, index: int) -> bool:
        """Return True if a sample is stored in a separate file."""
        dataset, own_index = self._origin(split, index)
        return dataset.is_file(split, own_index)

    def _origin(self, split: str, index: int) -> tuple[Dataset, int]:
        if split != "train":
            return self._datasets[0], index
        number, own_index = self._train[index]
        return self._datasets[number], own_index


def _joined(datasets: Sequence[Dataset]) -> Decoding:
    """Return the units of regression data sets, and ranges that contain the values of all these data sets.

    Raises:
        DataError: The units differ.
    """
    first = datasets[0]
    for other in datasets[1:]:
        if other.decoding.units != first.decoding.units:
            units = " and ".join(", ".join(part.decoding.units) or "no units" for part in (first, other))
            msg = f"cannot add {other.source.name} to {first.source.name}: their units differ ({units})"
            raise DataError(msg)
    if not first.decoding.ranges:
        return PLAIN
    ranges = np.array([dataset.decoding.ranges for dataset in datasets])
    lows, highs = ranges[..., 0].min(axis=0).tolist(), ranges[..., 1].max(axis=0).tolist()
    return Decoding(units=first.decoding.units, ranges=tuple(zip(lows, highs, strict=True)))

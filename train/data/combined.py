"""A data set that also contains the training samples of other data sets. It implements `--extra-data`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import require_split
from orilla.runtime.tasks.decoding import PLAIN, Decoding


class CombinedDataset(Dataset):
    """A data set whose training split also contains the training samples of other data sets.

    Raises:
        DataError: The tasks or classes differ, or a data set to add has no training split.
    """

    def __init__(self, first: Dataset, others: Sequence[Dataset]) -> None:
        self.source, self.task, self.classes, self.ignore = first.source, first.task, first.classes, first.ignore
        self.in_time_order = first.in_time_order
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
        self._train = [(dataset, index) for dataset in self._datasets for index in range(len(dataset.names("train")))]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the first data set's splits."""
        return self._splits

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        require_split(self, split)
        return tuple(name for dataset in self._datasets_of(split) for name in dataset.names(split))

    def labels(self, split: str) -> list[int]:
        """Return the class of each sample of a split."""
        return [label for dataset in self._datasets_of(split) for label in dataset.labels(split)]

    def values(self, split: str) -> NDArray[np.float64]:
        """Return the numbers `[N,K]` of a split's samples."""
        return np.concatenate([dataset.values(split) for dataset in self._datasets_of(split)])

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

    def _datasets_of(self, split: str) -> list[Dataset]:
        return self._datasets if split == "train" else self._datasets[:1]

    def _origin(self, split: str, index: int) -> tuple[Dataset, int]:
        return self._train[index] if split == "train" else (self._datasets[0], index)


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

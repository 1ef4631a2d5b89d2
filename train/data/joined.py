"""Data sets with additional training samples: `--extra-data`."""

from __future__ import annotations

from collections.abc import Sequence

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import require_split


class Joined(Dataset):
    """A data set whose training split is extended by those of other data sets. Its other splits stay unchanged.

    Raises:
        DataError: Another data set has another task, other classes or no train split.
    """

    def __init__(self, first: Dataset, others: Sequence[Dataset]) -> None:
        self.source, self.task, self.classes, self.ignore = first.source, first.task, first.classes, first.ignore
        for other in others:
            if (other.task, other.classes) != (first.task, first.classes):
                msg = (
                    f"cannot add {other.source.name} ({', '.join(other.classes)}) to {first.source.name} "
                    f"({', '.join(first.classes)}): their classes differ"
                )
                raise DataError(msg)
            if "train" not in other.splits:
                msg = f"cannot add {other.source.name}: it has no train split"
                raise DataError(msg)
        self._parts = [first, *others]
        self._splits = first.splits
        self._places = [(part, index) for part in self._parts for index in range(len(part.names("train")))]

    @property
    def splits(self) -> tuple[str, ...]:
        return self._splits

    def names(self, split: str) -> tuple[str, ...]:
        require_split(self, split)
        return tuple(name for part in self._of(split) for name in part.names(split))

    def labels(self, split: str) -> list[int]:
        return [label for part in self._of(split) for label in part.labels(split)]

    def load(self, split: str, index: int) -> Sample:
        part, place = self._place(split, index)
        return part.load(split, place)

    def content(self, split: str, index: int) -> bytes:
        part, place = self._place(split, index)
        return part.content(split, place)

    def truth(self, split: str, index: int) -> bytes:
        part, place = self._place(split, index)
        return part.truth(split, place)

    def is_file(self, split: str, index: int) -> bool:
        part, place = self._place(split, index)
        return part.is_file(split, place)

    def _of(self, split: str) -> list[Dataset]:
        return self._parts if split == "train" else self._parts[:1]

    def _place(self, split: str, index: int) -> tuple[Dataset, int]:
        return self._places[index] if split == "train" else (self._parts[0], index)

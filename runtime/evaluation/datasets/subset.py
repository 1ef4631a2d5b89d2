"""A data set without the samples that a training run skipped as corrupt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.evaluation.datasets.dataset import Dataset, Sample, require_split


class Subset(Dataset):
    """A data set from which some samples are removed.

    Args:
        whole: The data set with all samples.
        skipped: One line per removed sample, as in a model card: the name, `: ` and the reason. Because a line does not
            state the split, samples with this name are removed from every split.
    """

    def __init__(self, whole: Dataset, skipped: Sequence[str]) -> None:
        self.source, self.task, self.classes = whole.source, whole.task, whole.classes
        self.ignore, self.has_labels, self.decoding = whole.ignore, whole.has_labels, whole.decoding
        self._whole = whole
        # A name may contain `: `, so for each `: ` in a line, the part before it is treated as a possible name.
        names = {line[:end] for line in skipped for end in range(len(line)) if line.startswith(": ", end)}
        self._kept: dict[str, list[int]] = {}
        for split in whole.splits:
            indices = [index for index, name in enumerate(whole.names(split)) if name not in names]
            if indices:
                self._kept[split] = indices

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return tuple(self._kept)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        require_split(self, split)
        names = self._whole.names(split)
        return tuple(names[index] for index in self._kept[split])

    def labels(self, split: str) -> Sequence[int]:
        """Return the class of each sample."""
        labels = self._whole.labels(split)
        return [labels[index] for index in self._kept[split]]

    def values(self, split: str) -> NDArray[np.float64]:
        """Return the numbers `[N,K]` of the samples."""
        return self._whole.values(split)[self._kept[split]]

    def load(self, split: str, index: int) -> Sample:
        """Load one sample."""
        return self._whole.load(split, self._kept[split][index])

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's input. See `Dataset.content`."""
        return self._whole.content(split, self._kept[split][index])

    def truth(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's labels. See `Dataset.truth`."""
        return self._whole.truth(split, self._kept[split][index])

    def is_file(self, split: str, index: int) -> bool:
        """Return True if `content` reads a file."""
        return self._whole.is_file(split, self._kept[split][index])

"""A view of a data set with the classes of another data set, to train a model for one class on both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import ClassifiedImage, Dataset, LabelledImage, Sample
from orilla.runtime.tasks.registry import task_of

OTHER = 254
"""Label of pixels that do not show the class of the model, and whose class has no name in the other data set. Unlike
ignored pixels, these pixels contribute to the loss."""


class AsClass(Dataset):
    """A data set with masks whose classes are mapped to those of another data set.

    Classes with equal names are the same class. All other classes become `OTHER`. If a data set has a class per image,
    and the model's class is not among its classes, all pixels of all images become `OTHER`.

    Args:
        dataset: The data set to read.
        target: The data set whose classes are used.
        label: The class that the model finds.

    Raises:
        DataError: The data set has neither masks with the class nor images without it.
    """

    task = "segment"

    def __init__(self, dataset: Dataset, target: Dataset, label: str) -> None:
        self._dataset = dataset
        self.source, self.classes, self.ignore = dataset.source, target.classes, target.ignore
        names = [name.lower() for name in dataset.classes]
        has_label = label.lower() in names
        task = task_of(dataset.task)
        if not (task.labels_pixels or task.classifies) or has_label != task.labels_pixels:
            wanted = f"masks with the class {label!r}, or images of classes without it"
            msg = f"cannot add {dataset.source.name} ({', '.join(dataset.classes[:10])}): it needs {wanted}"
            raise DataError(msg)
        self._table = np.full(256, OTHER, np.uint8)
        own = {name.lower(): index for index, name in enumerate(target.classes)}
        for index, name in enumerate(names):
            self._table[index] = own.get(name, OTHER)
        self._table[dataset.ignore] = target.ignore

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return self._dataset.splits

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        return self._dataset.names(split)

    def load(self, split: str, index: int) -> Sample:
        """Load one sample with the labels of the other data set."""
        sample = self._dataset.load(split, index)
        if isinstance(sample, ClassifiedImage):
            return LabelledImage(sample.name, sample.image, np.full(sample.image.shape[:2], OTHER, np.uint8))
        assert isinstance(sample, LabelledImage)
        labels: NDArray[np.uint8] = self._table[sample.labels]
        return LabelledImage(sample.name, sample.image, labels)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample."""
        return self._dataset.content(split, index)

    def truth(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's mask. They are empty if the data set has a class per image."""
        return self._dataset.truth(split, index) if task_of(self._dataset.task).labels_pixels else b""

    def is_file(self, split: str, index: int) -> bool:
        """Return True if a sample is stored in a separate file."""
        return self._dataset.is_file(split, index)

"""A data set whose labels are ignored."""

from __future__ import annotations

from orilla.runtime.evaluation.datasets.dataset import Dataset, Sample


class Unlabelled(Dataset):
    """The samples of a data set, without their labels, for a model with a different task.

    Args:
        whole: The data set with its labels.
        task: Task of the model.
    """

    classes = ()
    has_labels = False

    def __init__(self, whole: Dataset, task: str) -> None:
        self.source, self.task, self._whole = whole.source, task, whole

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits."""
        return self._whole.splits

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of a split's samples."""
        return self._whole.names(split)

    def load(self, split: str, index: int) -> Sample:
        """Load one sample."""
        return self._whole.load(split, index)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's input. See `Dataset.content`."""
        return self._whole.content(split, index)

    def truth(self, split: str, index: int) -> bytes:
        """Return empty bytes, because the labels are ignored."""
        return b""

    def is_file(self, split: str, index: int) -> bool:
        """Return True if `content` reads a file."""
        return self._whole.is_file(split, index)

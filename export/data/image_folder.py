"""Data set for a folder of images without labels."""

from __future__ import annotations

from pathlib import Path

from orilla.runtime.evaluation.datasets import ClassifiedImage, Dataset, Sample, Source
from orilla.runtime.preprocessing.image_file import read_image
from orilla.runtime.sources.source import image_files


class ImageFolder(Dataset):
    """A folder of images without labels."""

    classes = ()
    has_labels = False

    def __init__(self, folder: Path, task: str) -> None:
        self._files = image_files(folder)
        self.task = task
        self.source = Source("pictures", "a folder of images", "not stated")

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the name of the only split."""
        return ("all",)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the file names of the images."""
        return tuple(file.name for file in self._files)

    def load(self, split: str, index: int) -> Sample:
        """Return an image. Raises `DataError` if it cannot be decoded."""
        return ClassifiedImage(self._files[index].name, read_image(self._files[index]), -1)

    def truth(self, split: str, index: int) -> bytes:
        """Return empty bytes, because there are no labels."""
        return b""

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of an image file."""
        return self._files[index].read_bytes()

"""Open the data sets of an export for validation, calibration and golden data."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import DataError
from orilla.export.data.image_folder import ImageFolder
from orilla.export.data.random_arrays import RandomArrays
from orilla.export.data.unlabelled import Unlabelled
from orilla.export.keras_images import channels_note
from orilla.export.source_model import SourceModel
from orilla.runtime.evaluation.datasets import Dataset, open_dataset
from orilla.runtime.evaluation.datasets.pixel_arrays import as_images
from orilla.runtime.evaluation.datasets.raw import raw_of
from orilla.runtime.evaluation.datasets.registry import path_of
from orilla.runtime.evaluation.datasets.subset import Subset
from orilla.runtime.preprocessing.image import ImagePreprocessor
from orilla.runtime.preprocessing.spec import KINDS, kind_of
from orilla.runtime.sources.source import image_files
from orilla.runtime.tasks.registry import task_of


def open_samples(spec: str, source: SourceModel) -> Dataset:
    """Open a data set or a folder of images.

    Raises:
        ConfigError: The specification is invalid.
        DataError: The data cannot be read, or does not fit the model.
    """
    folder = Path(spec)
    if isinstance(source.preprocessor, ImagePreprocessor) and folder.is_dir() and image_files(folder):
        return ImageFolder(folder, source.task)
    dataset = open_dataset(spec)
    if isinstance(source.preprocessor, ImagePreprocessor):
        dataset = as_images(dataset)
    if source.card is not None and source.card.data.skipped and is_same_data(spec, source.data or ""):
        dataset = Subset(dataset, source.card.data.skipped)
    if not dataset.splits:
        msg = f"data set {spec} has no samples"
        raise DataError(msg)
    if source.foreign is not None and task_of(source.task).needs_labels and dataset.task != source.task:
        dataset = Unlabelled(dataset, source.task)
    kind = kind_of(raw_of(dataset.load(dataset.check_split, 0)))
    if kind != source.preprocessor.kind:
        takes = f"{source.preprocessor.contents}{channels_note(source.info)}"
        msg = f"{spec} contains {KINDS[kind].contents}, but the model takes {takes}"
        raise DataError(msg)
    return dataset


def generated_samples(source: SourceModel) -> Dataset:
    """Return computer-generated road scenes or random arrays, for an imported model without data from the user."""
    assert source.foreign is not None
    if isinstance(source.preprocessor, ImagePreprocessor):
        return Unlabelled(open_dataset("scenes"), source.task)
    return RandomArrays(source.foreign.inputs, source.task)


def is_same_data(a: str, b: str) -> bool:
    """Return True if two data specifications name the same file or folder."""
    path_a, path_b = path_of(a), path_of(b)
    return a == b or (path_a is not None and path_b is not None and path_a.samefile(path_b))

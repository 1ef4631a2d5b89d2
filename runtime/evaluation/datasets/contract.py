"""Checks that every reader of data sets must pass. A test calls each of `CHECKS` with a `DatasetCase`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets.dataset import (
    ArraySample,
    BoxedImage,
    ClassifiedImage,
    ClassifiedText,
    Dataset,
    LabelledImage,
    MeasuredImage,
    Sample,
)
from orilla.runtime.evaluation.datasets.registry import open_dataset

Change = Literal["input", "label"] | None
"""The part of the first training sample that `DatasetCase.build` changes. If None, it changes nothing."""

COPIES = 40
"""Maximum number of damaged copies of a file. Each copy has one flipped bit."""

SPLITS = {"train", "val", "test", "all"}
"""Names that splits may have."""


@dataclass(frozen=True, slots=True)
class DatasetCase:
    """A test case for a kind of data set: a function that builds a small example."""

    kind: str
    """Name of the kind of data set."""
    build: Callable[[Path, Change], str | Path]
    """Function that writes a small data set to a path, and returns the argument with which `open_dataset` can open
    it."""
    folder: Path
    """An empty folder."""
    in_files: bool = True
    """False if the samples are computed instead of read from files."""

    def open(self, name: str = "data", change: Change = None) -> Dataset:
        """Write the example to a path in the folder, and open it."""
        return open_dataset(self.build(self.folder / name, change))


def describes_its_source(case: DatasetCase) -> None:
    """Check that the data set names its source and licence, and that its splits have known names."""
    dataset = case.open()
    assert dataset.source.name
    assert dataset.source.licence
    assert dataset.splits
    assert set(dataset.splits) <= SPLITS, f"splits={dataset.splits}: each split must be one of {sorted(SPLITS)}"


def has_samples_of_the_documented_form(case: DatasetCase) -> None:
    """Check that the names in a split differ, and that the samples have the documented types and shapes."""
    dataset = case.open()
    split = dataset.splits[0]
    names = dataset.names(split)
    assert len(set(names)) == len(names) > 0, "two samples of a split have the same name"
    sample = dataset.load(split, 0)
    assert sample.name == names[0]
    _check_sample(dataset, sample)


def has_labels_without_reading_inputs(case: DatasetCase) -> None:
    """Check that `labels` returns the class of each sample."""
    dataset = case.open()
    for split in dataset.splits:
        labels = dataset.labels(split)
        assert len(labels) == len(dataset.names(split))
        sample = dataset.load(split, len(labels) - 1)
        if isinstance(sample, ClassifiedImage | ClassifiedText):
            assert labels[-1] == sample.label


def has_equal_digests_for_equal_data(case: DatasetCase) -> None:
    """Check that the digest of a split depends only on its content."""
    dataset, copy = case.open(), case.open("copy")
    digests = [dataset.digest(split) for split in dataset.splits]
    assert digests == [copy.digest(split) for split in copy.splits], "equal data have different digests"
    assert all(len(digest) == 64 for digest in digests)
    assert len(set(digests)) == len(digests), "two splits have the same digest"


def has_another_digest_for_another_input(case: DatasetCase) -> None:
    """Check that a changed input changes the digest of its split, but of no other split."""
    _check_change(case, "input")


def has_another_digest_for_another_label(case: DatasetCase) -> None:
    """Check that a changed label changes the digest of its split, but of no other split."""
    _check_change(case, "label")


def rejects_meaningless_files(case: DatasetCase) -> None:
    """Check that files with meaningless content raise `DataError` with a message of one line."""
    if not case.in_files:
        return
    path = Path(case.build(case.folder / "data", None))
    for file in _files(path):
        file.write_bytes(b"\xff\x00nonsense")
    for spec in (str(path), f"{case.kind}:{path}"):
        message = _error(spec)
        assert message is not None, "a data set of meaningless files was opened"
        assert "\n" not in message, message


def rejects_damage_anywhere(case: DatasetCase) -> None:
    """Check that damaged files raise no error except `DataError` with a message of one line.

    A damaged file has one changed bit, or is truncated.
    """
    if not case.in_files:
        return
    path, errors, times = Path(case.build(case.folder / "data", None)), [], count(1)
    # In each folder, one file of each type is damaged.
    for file in {file.parent / file.suffix: file for file in _files(path)}.values():
        content = file.read_bytes()
        for version in damaged(content):
            file.write_bytes(version)
            # The changed file needs a new modification time, even if the clock has not advanced.
            os.utime(file, ns=(0, next(times)))
            errors.append(_error(f"{case.kind}:{path}"))
        file.write_bytes(content)
    messages = [error for error in errors if error is not None]
    assert messages, "no damage was detected"
    assert not [message for message in messages if "\n" in message]


def damaged(content: bytes) -> Iterator[bytes]:
    """Yield damaged copies of a file's content. Each copy has one changed bit, or is truncated."""
    for position in range(0, len(content), max(1, len(content) // COPIES)):
        yield content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
    for length in (0, 1, len(content) // 3, len(content) - 1):
        yield content[:length]


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _error(spec: str) -> str | None:
    """Load all samples. Return the message of the `DataError` that this raises, or None."""
    try:
        dataset = open_dataset(spec)
        for split in dataset.splits:
            for index in range(len(dataset.names(split))):
                dataset.load(split, index)
    except DataError as error:
        return str(error)
    return None


def _check_change(case: DatasetCase, change: Change) -> None:
    dataset, changed = case.open(), case.open("changed", change)
    assert changed.splits == dataset.splits
    first, *others = dataset.splits
    assert changed.digest(first) != dataset.digest(first), f"a changed {change} has the same digest"
    if case.in_files:  # Another seed changes all splits of a computed data set.
        assert [changed.digest(split) for split in others] == [dataset.digest(split) for split in others]


def _check_sample(dataset: Dataset, sample: Sample) -> None:
    classes = range(len(dataset.classes))
    if isinstance(sample, LabelledImage | ClassifiedImage | BoxedImage | MeasuredImage):
        assert sample.image.dtype == np.uint8
        assert sample.image.ndim == 3
        assert sample.image.shape[2] == 3, f"an image has shape {sample.image.shape}: expected [H,W,3]"
    if isinstance(sample, LabelledImage):
        assert sample.labels.dtype == np.uint8
        assert sample.image.shape[:2] == sample.labels.shape
        assert set(np.unique(sample.labels)) <= {*classes, dataset.ignore}
    elif isinstance(sample, ClassifiedImage | ClassifiedText):
        assert sample.label in classes
    elif isinstance(sample, BoxedImage):
        _check_boxes(sample, classes)
    elif isinstance(sample, MeasuredImage):
        _check_values(dataset, sample)
    else:
        assert isinstance(sample, ArraySample)
        assert all(array.size for array in sample.arrays.values())
    assert not isinstance(sample, ClassifiedText) or sample.text


def _check_boxes(sample: BoxedImage, classes: range) -> None:
    height, width = sample.image.shape[:2]
    assert sample.boxes_xyxy.dtype == np.float32
    assert sample.classes.dtype == np.int64
    assert sample.crowd.dtype == np.bool_
    assert sample.boxes_xyxy.shape == (len(sample.classes), 4) == (len(sample.crowd), 4)
    assert len(sample.classes) > 0
    assert (sample.boxes_xyxy[:, :2] < sample.boxes_xyxy[:, 2:]).all(), "a box is empty"
    assert (sample.boxes_xyxy >= 0).all()
    assert (sample.boxes_xyxy <= [width, height, width, height]).all(), "a box is outside its image"
    assert set(sample.classes.tolist()) <= set(classes)


def _check_values(dataset: Dataset, sample: MeasuredImage) -> None:
    split, count_of_values = dataset.splits[0], len(dataset.classes)
    assert sample.values.dtype == np.float64
    assert sample.values.shape == (count_of_values,)
    low, high = np.array(dataset.decoding.ranges).T
    assert (low <= sample.values).all(), "a value is below its range"
    assert (sample.values <= high).all(), "a value is above its range"
    assert dataset.values(split).shape == (len(dataset.names(split)), count_of_values)
    assert np.array_equal(dataset.values(split)[0], sample.values)


CHECKS: tuple[Callable[[DatasetCase], None], ...] = (
    describes_its_source,
    has_samples_of_the_documented_form,
    has_labels_without_reading_inputs,
    has_equal_digests_for_equal_data,
    has_another_digest_for_another_input,
    has_another_digest_for_another_label,
    rejects_meaningless_files,
    rejects_damage_anywhere,
)
"""The checks that every kind of data set must pass."""

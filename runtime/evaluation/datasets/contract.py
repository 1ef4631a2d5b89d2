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
    Sample,
)
from orilla.runtime.evaluation.datasets.registry import open_dataset

Change = Literal["input", "label"] | None
"""The part of the first training sample that a builder changes. If None, it changes nothing."""

COPIES = 40
"""Maximum number of damaged copies of a file with one changed bit each."""

SPLITS = {"train", "val", "test", "all"}
"""Names that splits may have."""


@dataclass(frozen=True, slots=True)
class DatasetCase:
    """An example of a data set."""

    kind: str
    """Name of the kind of data set."""
    build: Callable[[Path, Change], str | Path]
    """Function that writes a small data set at a path, and returns the argument with which `open_dataset` opens it."""
    folder: Path
    """An empty folder."""
    in_files: bool = True
    """False if the samples are computed, and have no files."""

    def open(self, name: str = "data", change: Change = None) -> Dataset:
        """Write the example at a path in the folder, and open it."""
        return open_dataset(self.build(self.folder / name, change))


def describes_its_source(case: DatasetCase) -> None:
    """The data set names its source and licence, and has known splits."""
    dataset = case.open()
    assert dataset.source.name
    assert dataset.source.licence
    assert dataset.splits
    assert set(dataset.splits) <= SPLITS, f"splits={dataset.splits}: must be among {sorted(SPLITS)}"


def has_samples_of_the_documented_form(case: DatasetCase) -> None:
    """The names in a split differ, and samples have the documented types and shapes."""
    dataset = case.open()
    split = dataset.splits[0]
    names = dataset.names(split)
    assert len(set(names)) == len(names) > 0, "two samples of a split have the same name"
    sample = dataset.load(split, 0)
    assert sample.name == names[0]
    _check_sample(dataset, sample)


def has_labels_without_reading_inputs(case: DatasetCase) -> None:
    """`labels` returns the class of each sample."""
    dataset = case.open()
    for split in dataset.splits:
        labels = dataset.labels(split)
        assert len(labels) == len(dataset.names(split))
        sample = dataset.load(split, len(labels) - 1)
        if isinstance(sample, ClassifiedImage | ClassifiedText):
            assert labels[-1] == sample.label


def has_equal_digests_for_equal_data(case: DatasetCase) -> None:
    """The digest of a split depends only on its content."""
    dataset, copy = case.open(), case.open("copy")
    digests = [dataset.digest(split) for split in dataset.splits]
    assert digests == [copy.digest(split) for split in copy.splits], "equal data have different digests"
    assert all(len(digest) == 64 for digest in digests)
    assert len(set(digests)) == len(digests), "two splits have the same digest"


def has_another_digest_for_another_input(case: DatasetCase) -> None:
    """A changed input changes the digest of its split only."""
    _check_change(case, "input")


def has_another_digest_for_another_label(case: DatasetCase) -> None:
    """A changed label changes the digest of its split only."""
    _check_change(case, "label")


def rejects_meaningless_files(case: DatasetCase) -> None:
    """Files without meaning raise `DataError` with one line."""
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
    """A file with one changed bit, or a truncated file, raises nothing but `DataError` with one line."""
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

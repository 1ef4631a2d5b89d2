"""Data set of small square images as rows of a table, as Kaggle offers MNIST, Fashion-MNIST, EMNIST and others.

Each row contains the class and the pixels, 0 to 255, row by row. The first line may name the columns. There is one
table per split, such as `fashion-mnist_train.csv` and `fashion-mnist_test.csv`, or one table, which is divided. A table
without classes, such as Kaggle's `test.csv`, is not used.

The pixels may also be in one column `pixels`, separated by spaces, as in FER2013. If this table has a column such as
`Usage` that states the split of each row, the table is divided by it.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.image_arrays import MemoryImages, Split
from orilla.runtime.evaluation.datasets.image_values import to_images, to_labels
from orilla.runtime.evaluation.datasets.label_tables import LABELS
from orilla.runtime.evaluation.datasets.tables import SUFFIXES, read_table, start_of, table_files

MIN_SIDE = 8
"""Minimum width and height of an image. Ordinary tables have fewer columns of numbers."""

TRANSPOSED = "emnist"
"""Part of the name of tables that store transposed images, as EMNIST's files do."""


PIXELS = "pixels"
"""Name of the column that contains all pixels of an image, separated by spaces, in lower case."""

USAGE = "usage"
"""Name of the column that contains the split in FER2013, in lower case."""

USAGES = {"training": "train", "publictest": "val", "privatetest": "test"}
"""Splits of FER2013 by their name in the column `Usage`, in lower case."""

EMOTION = "emotion"
"""Name of the column of the classes in FER2013, in lower case."""

EMOTIONS = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral")
"""Names of the classes of FER2013. Source: Goodfellow et al., "Challenges in Representation Learning" (2013)."""


class PixelTables(MemoryImages):
    """Images that are rows of tables."""


def recognise(path: Path) -> str | None:
    """Return the reason why a path is recognised as a table of pixels, or as a folder or zip with such tables."""
    found = _found(path)
    return f"the rows of {readable(found[0][1].name)} are a class and the pixels of a square image" if found else None


def open_dataset(path: Path) -> PixelTables:
    """Read the tables. Raise `DataError` if a value is not a number, or is not a pixel or a class."""
    found = _found(path)
    if not found:
        msg = f"not a data set: {path} has no .csv with a class and the pixels of a square image in each row"
        raise DataError(msg)
    splits = [split for split, _ in found]
    if len(found) > 1 and ("" in splits or len(set(splits)) < len(splits)):
        names = " and ".join(readable(file.name) for _, file in found[:2])
        msg = f"{path} has several tables ({names}): give the path of one of them"
        raise DataError(msg)
    tables = {split: _read(file) for split, file in found}
    arrays = {split: (table.images, table.labels) for split, table in tables.items()}
    if len(tables) == 1:
        arrays = _divided(next(iter(tables.values())))
    count = 1 + max(int(labels.max()) for _, labels in arrays.values())
    name = readable(path.resolve().stem)
    source = Source(name, f"images in the rows of {readable(found[0][1].name)}", "not stated")
    ordered = {split: arrays[split] for split in SPLITS if split in arrays}
    are_emotions = count == len(EMOTIONS) and all(table.are_emotions for table in tables.values())
    return PixelTables(source, EMOTIONS if are_emotions else tuple(map(str, range(count))), ordered)


class _Content(NamedTuple):
    """The content of a table."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: list[str] | None = None
    """Split of each row, if a column states it."""
    are_emotions: bool = False
    """True if the classes are those of FER2013."""


def _read(file: tree.Folder) -> _Content:
    """Return the images and classes of a table."""
    table = start_of(file)
    if table is not None and table.column(PIXELS) is not None:
        return _read_lists(file)
    label = None if table is None else _label_column(table)
    assert table is not None
    assert label is not None
    text = tree.decode_text(tree.read(file), readable(file.name)).encode()
    lines = io.TextIOWrapper(io.BytesIO(text), "utf-8")  # `StringIO` would need four bytes for each character.
    try:
        rows = np.loadtxt(lines, np.float32, delimiter=",", skiprows=int(_has_names(table)), quotechar='"', ndmin=2)
    except ValueError as error:
        msg = f"cannot read {readable(file.name)}: {error}"
        raise DataError(msg) from error
    images = to_images(np.delete(rows, label, axis=1), readable(file.name))
    if TRANSPOSED in file.name.lower():
        images = np.ascontiguousarray(images.transpose(0, 2, 1))
    return _Content(images, to_labels(rows[:, label], len(images), readable(file.name)))


def _read_lists(file: tree.Folder) -> _Content:
    """Return the images and classes of a table that has a column `pixels`."""
    table = read_table(file)
    label, at, usage = _label_column(table), table.column(PIXELS), table.column(USAGE)
    assert label is not None
    assert at is not None
    pixels, labels, usages = [], [], []
    for line, fields in table.rows:
        where = f"{table.name}, line {line}"
        if len(fields) != len(table.header):
            msg = f"{where} has {len(fields)} fields, but the first line names {len(table.header)}"
            raise DataError(msg)
        try:
            pixels.append(np.array(fields[at].split(), np.float32))
            labels.append(float(fields[label]))
        except ValueError as error:
            msg = f"{where}: {PIXELS} and {table.header[label].strip()} must be numbers: {error}"
            raise DataError(msg) from error
        if len(pixels[-1]) != len(pixels[0]):
            msg = f"{where} has {len(pixels[-1])} pixels, but the first image has {len(pixels[0])}"
            raise DataError(msg)
        usages.append("" if usage is None else USAGES.get(fields[usage].strip().lower(), ""))
    images = to_images(np.stack(pixels), table.name)
    are_emotions = table.header[label].strip().lower() == EMOTION
    splits = usages if all(usages) else None
    return _Content(images, to_labels(np.array(labels), len(images), table.name), splits, are_emotions)


def _divided(table: _Content) -> dict[str, Split]:
    """Return the images of one table by split, which a column states or a hash of the pixels determines."""
    images, labels, stated, _ = table
    own = np.array(stated if stated is not None else [tree.split_of(image.tobytes()) for image in images])
    return {split: (images[own == split], labels[own == split]) for split in SPLITS if (own == split).any()}


def _has_names(table: Table) -> bool:
    """Return True if the first line names the columns.

    The names may be numbers, but not all of them in the range of pixel values.
    """
    return not only_numbers(table.header)


def _label_column(table: Table) -> int | None:
    """Return the column of the classes, or None if the table does not have a class and the pixels of a square image."""
    if (at := table.column(PIXELS)) is not None:
        found = [fields[at].split() for _, fields in table.rows if len(fields) == len(table.header)]
        if not found or not only_numbers(found[0]) or not _is_square(len(found[0])):
            return None
        return next((at for name in (EMOTION, *LABELS) if (at := table.column(name)) is not None), None)
    rows = [fields for _, fields in table.rows if len(fields) == len(table.header)]
    if not _is_square(len(table.header) - 1) or not rows or not only_numbers(rows[0]):
        return None
    if not _has_names(table):
        return 0
    return next((at for name in LABELS if (at := table.column(name)) is not None), None)


def _is_square(pixels: int) -> bool:
    return math.isqrt(pixels) ** 2 == pixels >= MIN_SIDE**2


def _found(path: Path) -> list[tuple[str, tree.Folder]]:
    """Return the split and the file of each table at a path. The split is empty if the name does not state it."""
    files: list[tree.Folder] = [path] if path.is_file() and path.suffix.lower() in SUFFIXES else []
    for top in tree.candidates(path):
        files = files or table_files(top)
    fitting = [file for file in files if (table := start_of(file)) is not None and _label_column(table) is not None]
    return [(_split_in(Path(file.name).stem), file) for file in fitting]


def _split_in(name: str) -> str:
    return next((tree.SPLITS[word] for word in words_of(name) if word in tree.SPLITS), "")

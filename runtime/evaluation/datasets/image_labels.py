"""Data set of images and a table with the class of each image, as in many competitions.

The table has a column of image files, with or without a suffix, and a column of classes named `label` or similar, or
one column with 0 or 1 for each class. The images lie beside the table or in a folder such as `images/` or `train/`. A
column `split`, or one table per split (`train.csv`, `val.csv`), states the splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import File
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedImage, ListedDataset
from orilla.runtime.evaluation.datasets.delimited import Table, by_number, whole_name
from orilla.runtime.evaluation.datasets.image_table import only_table
from orilla.runtime.evaluation.datasets.label_tables import class_columns, image_column, label_column, tables_of
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.places import place_of, splits_by_place
from orilla.runtime.evaluation.datasets.table_images import find_image, image_places, required_image
from orilla.runtime.evaluation.datasets.tables import read_table, split_column, start_of

OPTIONS = ("encoding", "columns", "image_column", "label_column")
"""Options that this reader understands."""

MANY_CLASSES = 20
"""A table with at most this many classes is accepted, however short it is."""

MIN_SEQUENCES = 3
"""Minimum number of frame sequences per class. With fewer, a split could lack a class."""


Labelled = tuple[str, tree.Folder, str]
"""Split of an image (or an empty string), its file, and its class."""


class ImageLabels(ListedDataset[File]):
    """Images whose classes are in a table."""

    task = "classify"

    def __init__(self, tables: Sequence[tuple[str, tree.Folder, Table]], path: Path, options: ReadOptions) -> None:
        top = _common_folder([folder for _, folder, _ in tables], path)
        self._top, self._is_divided = top, len({str(folder) for _, folder, _ in tables}) > 1
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and classes of {tables[0][2].name}", "not stated")
        self._rows = [row for split, folder, table in tables for row in _rows(split, folder, table, options)]
        self.classes = tuple(sorted({label for _, _, label in self._rows}, key=by_number))
        if len(self.classes) < 2:
            msg = f"{tables[0][2].name} has only one class, {self.classes[0]!r}: a classifier needs two or more"
            raise DataError(msg)
        if len(self.classes) > max(MANY_CLASSES, len(self._rows) / 2):
            msg = (
                f"{tables[0][2].name} has {len(self.classes)} different classes in {len(self._rows)} rows: set "
                "`label_column` to the column of the classes"
            )
            raise DataError(msg)

    @cached_property
    def samples(self) -> dict[str, list[File]]:
        """Return the images of each split."""
        order = {name: index for index, name in enumerate(self.classes)}
        samples: dict[str, list[File]] = {split: [] for split in SPLITS}
        names = [tree.below(self._top, file) if self._is_divided else file.name for _, file, _ in self._rows]
        if len(set(names)) < len(names):  # Several folders may contain files with the same name.
            names = [tree.below(self._top, file) for _, file, _ in self._rows]
        has_splits = all(split for split, _, _ in self._rows)
        by_place = None if has_splits else self._by_place(names)
        for index, (split, file, label) in enumerate(self._rows):
            own = split if has_splits else by_place[index] if by_place else tree.split_of(tree.read(file))
            samples[own].append(File(readable(names[index]), file, order[label]))
        for split, files in samples.items():
            name, count = Counter(file.name for file in files).most_common(1)[0] if files else ("", 1)
            if count > 1:
                msg = f"{self.source.title}: the image {name} occurs twice in {split}: remove one row"
                raise DataError(msg)
        return {split: files for split, files in samples.items() if files}

    def _by_place(self, names: Sequence[str]) -> list[str] | None:
        """Return the split of each image, if the names state sequences of images, which belong to one split.

        In GTSRB, `00004/00012_00007.ppm` is the seventh of 30 almost equal frames of one traffic sign.
        """
        stems = [Path(name).with_suffix("") for name in names if place_of(Path(name).stem)]
        places = {place_of(str(stem)) for stem in stems}
        if len(stems) < len(names) or len(places) < MIN_SEQUENCES * len(self.classes):
            return None
        return splits_by_place([str(stem) for stem in stems])

    def load(self, split: str, index: int) -> ClassifiedImage:
        """Load one sample."""
        sample = self.samples_of(split)[index]
        return ClassifiedImage(sample.name, tree.decoded(sample.file), sample.label)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's file."""
        return tree.read(self.samples[split][index].file)


def _common_folder(folders: Sequence[tree.Folder], path: Path) -> tree.Folder:
    """Return the folder of the tables, or the folder that contains all of them."""
    if len({str(folder) for folder in folders}) == 1:
        return folders[0]
    tops = tree.candidates(path)
    return next(top for top in tops if all(folder == top or tree.is_below(folder, top) for folder in folders))


def _rows(
    split: str, folder: tree.Folder, table: Table, options: ReadOptions
) -> Iterator[tuple[str, tree.Folder, str]]:
    """Yield the split, the file and the class of each row. The split is empty if it is not stated."""
    image = image_column(table, options)
    assert image is not None
    label, split_at = label_column(table, options, image), split_column(table)
    one_hot = [] if label is not None else class_columns(table, image)
    places = image_places(folder, table.name)
    for line, fields in table.rows:
        where = f"{table.name}, line {line}"
        if len(fields) != len(table.header):
            msg = f"{where} has {len(fields)} fields, but the first line names {len(table.header)}"
            raise DataError(msg)
        file = required_image(places, fields[image].strip(), where)
        stated = one_hot if label is None else [label]
        own = split if split_at is None else _stated_split(fields[split_at], where)
        yield own, file, _class_of(table, fields, stated, where)


def _class_of(table: Table, fields: Sequence[str], columns: Sequence[int], where: str) -> str:
    """Return the class in a row: the text in the only column, or the name of the column that is 1."""
    if len(columns) == 1:
        name = fields[columns[0]].strip()
        if not name:
            msg = f"{where} has no class"
            raise DataError(msg)
        return whole_name(name)
    chosen = [table.header[at].strip() for at in columns if fields[at].strip() in ("1", "1.0")]
    if len(chosen) != 1:
        msg = (
            f"{where}: {len(chosen)} columns of classes are 1, but an image must have exactly one class: set "
            "`label_column` to the column of one attribute, or leave the line out"
        )
        raise DataError(msg)
    return chosen[0]


def _stated_split(text: str, where: str) -> str:
    split = tree.SPLITS.get(text.strip().lower())
    if split is None:
        msg = f"{where}: the split {text[:60]!r} is not train, val or test"
        raise DataError(msg)
    return split


def _has_an_image(folder: tree.Folder, file: tree.Folder, options: ReadOptions) -> bool:
    """Return True if the image of the first row exists."""
    table = start_of(file, options)
    column = None if table is None else image_column(table, options)
    if table is None or column is None or column >= len(table.rows[0].fields):
        return False
    return find_image(image_places(folder, table.name), table.rows[0].fields[column].strip()) is not None


def recognise(path: Path, options: ReadOptions = NO_OPTIONS) -> str | None:
    """Return the reason why a path is recognised as images and a table with their classes, or None."""
    found = tables_of(path, options)
    if not found or not any(_has_an_image(folder, file, options) for _, folder, file in found):
        return None
    return f"{readable(found[0][2].name)} lists image files and their classes"


def open_dataset(path: Path, options: ReadOptions = NO_OPTIONS) -> ImageLabels:
    """Open the table, or one table per split, in a folder or zip."""
    found = tables_of(path, options)
    folders = {str(folder): tree.SPLITS.get(folder.name.lower()) for _, folder, _ in found}
    are_classes = len(folders) == len(found) and not any(folders.values())
    if not found or (len(found) > 1 and not are_classes and not all(split for split, _, _ in found)):
        tables = [(folder, file) for _, folder, file in found]
        only_table(path, tables, "has no .csv with a column of image files and a column of classes")
    return ImageLabels([(split, folder, read_table(file, options)) for split, folder, file in found], path, options)

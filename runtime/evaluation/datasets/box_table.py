"""Data set of images and a table with one row per box, as Roboflow and TensorFlow's object detection write it.

The columns are `filename`, `class`, `xmin`, `ymin`, `xmax` and `ymax`, and optionally `width` and `height`, in pixels.
The table is `_annotations.csv` in each split folder, or lies beside its images, or beside a folder with its images.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from orilla.devices.errors import DataError
from orilla.devices.names import readable, whole_number
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split, unique_names
from orilla.runtime.evaluation.datasets.delimited import Table
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.tables import is_table, read_table, start_of, table_files

OPTIONS = ("encoding", "columns", "image_column", "label_column")
"""Options that this reader understands."""

EDGES = ("xmin", "ymin", "xmax", "ymax")

IMAGES = ("filename", "file_name", "image", "image_path", "image_id", "path")
CLASSES = ("class", "label", "class_name", "name", "category")
"""Names of the columns with the image files and the classes, in lower case."""


class _Part(NamedTuple):
    """One table of boxes."""

    split: str
    """Split of the table, or an empty string."""
    folder: tree.Folder
    """Folder of the table."""
    file: tree.Folder


class BoxTable(Boxed):
    """Images whose boxes are in tables."""

    def __init__(self, parts: list[_Part], path: Path, options: ReadOptions) -> None:
        name = tree.name_of(parts[0].folder, path) if len(parts) == 1 else readable(path.resolve().stem)
        self.source = Source(name, f"images and boxes of {readable(parts[0].file.name)}", "not stated")
        self._tables = [(part, read_table(part.file, options)) for part in parts]
        self._options = options
        labels = {
            fields[at].strip()
            for _, table in self._tables
            for at in [_columns(table, options)[1]]
            for _, fields in table.rows
            if at < len(fields)
        }
        self.classes = unique_names(sorted(labels), readable(parts[0].file.name))

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        samples: list[AnnotatedImage] = []
        splits: list[str | None] = []
        for part, table in self._tables:
            for sample in self._images(part, table):
                samples.append(sample)
                splits.append(part.split or None)
        return by_split(samples, splits)

    def _images(self, part: _Part, table: Table) -> Iterator[AnnotatedImage]:
        """Yield the images of a table with their boxes."""
        image, label = _columns(table, self._options)
        edges = [table.column(edge) for edge in EDGES]
        rows: dict[str, list[Row]] = {}
        sizes: dict[str, tuple[int, int] | None] = {}
        for line, fields in table.rows:
            where = f"line {line}"
            if len(fields) != len(table.header):
                msg = f"{table.name}, {where} has {len(fields)} fields, but the first line names {len(table.header)}"
                raise DataError(msg)
            try:
                left, top, right, bottom = (float(fields[at]) for at in edges if at is not None)
            except ValueError as error:
                msg = f"{table.name}, {where}: the edges of the box are not four numbers"
                raise DataError(msg) from error
            name = fields[image].strip()
            box = Row(where, self.classes.index(fields[label].strip()), (left, top, right, bottom))
            rows.setdefault(name, []).append(box)
            sizes.setdefault(name, _size(table, fields))
        for name, boxes in rows.items():
            file = _image_file(part, name)
            if file is None:
                msg = f"{table.name}, {boxes[0].origin}: there is no image {readable(name)[:100]!r}"
                raise DataError(msg)
            yield AnnotatedImage(readable(name), file, table.name, boxes, sizes[name])


def _size(table: Table, fields: list[str]) -> tuple[int, int] | None:
    """Return the height and width that a row states, or None."""
    places = [table.column(side) for side in ("height", "width")]
    values = ["" if at is None else fields[at].strip() for at in places]
    return (int(values[0]), int(values[1])) if all(map(whole_number, values)) else None


def _columns(table: Table, options: ReadOptions) -> tuple[int, int]:
    """Return the indices of the columns with the image files and the classes. Raise an error if one is missing."""
    found = []
    for option, stated, names in (
        ("image_column", options.image_column, IMAGES),
        ("label_column", options.label_column, CLASSES),
    ):
        index = (
            next((at for name in names if (at := table.column(name)) is not None), None)
            if stated is None
            else table.stated(option, stated)
        )
        if index is None:
            msg = f"{table.name} has no column {names[0]}: its columns are {table.columns()}; set `{option}`"
            raise DataError(msg)
        found.append(index)
    return found[0], found[1]


def _image_file(part: _Part, name: str) -> tree.Folder | None:
    """Return the file of an image: beside the table, or in a folder beside it."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name or "\0" in name:
        return None
    relative = path.name if path.is_absolute() or ".." in path.parts else str(path)
    folders = [
        part.folder / place for place in ("images", Path(part.file.name).stem.split("_")[0], part.split) if place
    ]
    places = [part.folder, *folders]
    return next((file for place in places if (file := place / relative).is_file()), None)


def _fits(file: tree.Folder, options: ReadOptions) -> bool:
    table = start_of(file, options)
    return table is not None and bool(table.rows) and all(table.column(edge) is not None for edge in EDGES)


def _parts(path: Path, options: ReadOptions) -> list[_Part]:
    """Return the tables with boxes at a path."""
    if is_table(path):
        return [_Part("", path.parent, path)] if _fits(path, options) else []
    for top in tree.candidates(path):
        parts = [
            _Part(split, folder, file)
            for split, folder in tree.split_folders(top).items()
            for file in table_files(folder)
            if _fits(file, options)
        ]
        for file in table_files(top):
            if _fits(file, options):
                words = words_of(Path(file.name).stem)
                parts.append(_Part(next((tree.SPLITS[word] for word in words if word in tree.SPLITS), ""), top, file))
        if parts:
            return parts
    return []


def recognise(path: Path, options: ReadOptions = NO_OPTIONS) -> str | None:
    """Return the reason why a path is recognised as a table with boxes, or None."""
    parts = _parts(path, options)
    return f"{readable(parts[0].file.name)} has the columns xmin, ymin, xmax and ymax" if parts else None


def open_dataset(path: Path, options: ReadOptions = NO_OPTIONS) -> BoxTable:
    """Open the tables and images in a folder or zip, or a table beside its images."""
    parts = _parts(path, options)
    if not parts:
        msg = f"not a data set: {path} has no .csv with the columns filename, class, xmin, ymin, xmax and ymax"
        raise DataError(msg)
    return BoxTable(parts, path, options)

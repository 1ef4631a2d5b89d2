"""Data set of images and a table with one row per box, as Roboflow and TensorFlow's object detection write it.

The columns are `filename`, `class`, `xmin`, `ymin`, `xmax` and `ymax`, and optionally `width` and `height`, in pixels.
The module `box_columns` describes other forms of boxes. If no edge exceeds 1, the edges are fractions of the image
size. A row without edges names an image without objects. If all columns contain images or edges, all boxes have one
class.

The table is `_annotations.csv` in each split folder, or lies beside its images, or beside a folder with its images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from orilla.devices.errors import DataError
from orilla.devices.names import readable, whole_number
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.box_columns import BoxColumns, box_columns
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split, require_images, unique_names
from orilla.runtime.evaluation.datasets.delimited import Table
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.table_images import find_image, image_places
from orilla.runtime.evaluation.datasets.tables import is_table, read_table, start_of, table_files

OPTIONS = ("encoding", "columns", "image_column", "label_column")
"""Options that this reader understands."""

IMAGES = ("filename", "file_name", "image", "image_name", "image_path", "image_id", "imageid", "path", "file")
CLASSES = ("class", "label", "class_name", "classname", "label_name", "labelname", "name", "category", "class_id")
"""Names of the columns with the image files and the classes, in lower case."""

SIZES = ("width", "height")

WITHOUT_CLASS = {*SIZES, "source"}
"""Names of columns that do not contain classes, in lower case."""

MAX_FRACTION = 1.001
"""Largest edge of a box, as a fraction of the image size. The sum of an edge and a size can slightly exceed 1."""

ONLY_CLASS = "object"
"""Name of the class of all boxes, if the table does not state classes."""


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
            _class_of(fields, at)
            for _, table in self._tables
            for at, boxes in [(_columns(table, options)[1], _boxes(table))]
            for _, fields in table.rows
            if len(fields) == len(table.header) and boxes.has_box(fields)
        }
        self.normalised = all(_are_fractions(table) for _, table in self._tables)
        self.classes = unique_names(sorted(labels), readable(parts[0].file.name))

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        samples: list[AnnotatedImage] = []
        splits: list[str | None] = []
        missing: list[str] = []
        for part, table in self._tables:
            for name, sample in self._images(part, table):
                if sample is None:
                    missing.append(name)
                else:
                    samples.append(sample)
                    splits.append(part.split or None)
        require_images(missing, len(missing) + len(samples), self._tables[0][1].name)
        self.missing = missing
        return by_split(samples, splits)

    def _images(self, part: _Part, table: Table) -> Iterator[tuple[str, AnnotatedImage | None]]:
        """Yield the name of each image of a table, and the image with its boxes or None if there is no such file."""
        image, label = _columns(table, self._options)
        columns = _boxes(table)
        places = [
            *(place for place in [part.folder / part.split] if place.is_dir()),
            *image_places(part.folder, table.name),
        ]
        rows: dict[str, list[Row]] = {}
        sizes: dict[str, tuple[int, int] | None] = {}
        for line, fields in table.rows:
            where = f"line {line}"
            if len(fields) != len(table.header):
                msg = f"{table.name}, {where} has {len(fields)} fields, but the first line names {len(table.header)}"
                raise DataError(msg)
            name = fields[image].strip()
            sizes.setdefault(name, None if self.normalised else _size(table, fields))
            boxes = rows.setdefault(name, [])
            if columns.has_box(fields):
                box = columns.box(fields, f"{table.name}, {where}")
                boxes.append(Row(where, self.classes.index(_class_of(fields, label)), box))
        for name, boxes in rows.items():
            file = find_image(places, name)
            own = readable(name)
            yield own, None if file is None else AnnotatedImage(own, file, table.name, boxes, sizes[name])


def _boxes(table: Table) -> BoxColumns:
    """Return the columns with the boxes of a table that `_fits` accepts."""
    columns = box_columns(table)
    assert columns is not None
    return columns


def _are_fractions(table: Table) -> bool:
    """Return True if no edge exceeds 1, so that the edges are fractions of the image size."""
    columns = _boxes(table)
    rows = [fields for _, fields in table.rows if len(fields) == len(table.header) and columns.has_box(fields)]
    try:
        edges = [edge for fields in rows for edge in columns.box(fields, table.name)]
    except DataError:
        return False
    return any(edges) and max(edges) <= MAX_FRACTION


def _class_of(fields: Sequence[str], column: int | None) -> str:
    return ONLY_CLASS if column is None else fields[column].strip()


def _size(table: Table, fields: list[str]) -> tuple[int, int] | None:
    """Return the height and width that a row states, or None."""
    places = [table.column(side) for side in SIZES[::-1]]
    used = _boxes(table).places
    values = ["" if at is None or at in used else fields[at].strip() for at in places]
    return (int(values[0]), int(values[1])) if all(map(whole_number, values)) else None


def _columns(table: Table, options: ReadOptions) -> tuple[int, int | None]:
    """Return the columns of the image files and of the classes.

    The column of the classes is None if all boxes have one class.

    Raise an error if a column is missing.
    """
    image = _column(table, "image_column", options.image_column, IMAGES)
    used = (image, *_boxes(table).places)
    others = {name.strip().lower() for at, name in enumerate(table.header) if at not in used}
    if options.label_column is None and others <= WITHOUT_CLASS:
        return image, None
    return image, _column(table, "label_column", options.label_column, CLASSES)


def _column(table: Table, option: str, stated: str | None, names: Sequence[str]) -> int:
    if stated is not None:
        return table.stated(option, stated)
    index = next((at for name in names if (at := table.column(name)) is not None), None)
    if index is None:
        msg = f"{table.name} has no column {names[0]}: its columns are {table.columns()}; set `{option}`"
        raise DataError(msg)
    return index


def _fits(file: tree.Folder, options: ReadOptions) -> bool:
    table = start_of(file, options)
    return table is not None and bool(table.rows) and box_columns(table) is not None


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
    return f"{readable(parts[0].file.name)} has columns of the edges of boxes" if parts else None


def open_dataset(path: Path, options: ReadOptions = NO_OPTIONS) -> BoxTable:
    """Open the tables and images in a folder or zip, or a table beside its images."""
    parts = _parts(path, options)
    if not parts:
        msg = f"not a data set: {path} has no .csv with the columns filename, class, xmin, ymin, xmax and ymax"
        raise DataError(msg)
    return BoxTable(parts, path, options)

"""Data set of images and a table with one row per box, as Roboflow and TensorFlow's object detection write it.

The columns are `filename`, `class`, `xmin`, `ymin`, `xmax` and `ymax`, and optionally `width` and `height`, in pixels.
If no edge exceeds 1, they are fractions of the image size. A row without edges names an image without objects. If there
are no other columns than those of images and edges, all boxes are of one class.

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
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split, unique_names
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.table_images import image_places, required_image
from orilla.runtime.evaluation.datasets.tables import is_table, read_table, start_of, table_files

OPTIONS = ("encoding", "columns", "image_column", "label_column")
"""Options that this reader understands."""

EDGES = (
    ("xmin", "x_min", "x1", "left"),
    ("ymin", "y_min", "y1", "top"),
    ("xmax", "x_max", "x2", "right"),
    ("ymax", "y_max", "y2", "bottom"),
)
"""Names of the columns with the edges, in lower case."""

IMAGES = ("filename", "file_name", "image", "image_name", "image_path", "image_id", "imageid", "path", "file")
CLASSES = ("class", "label", "class_name", "classname", "label_name", "labelname", "name", "category", "class_id")
"""Names of the columns with the image files and the classes, in lower case."""

SIZES = ("width", "height")

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
            for at, edges in [(_columns(table, options)[1], _edges(table))]
            for _, fields in table.rows
            if len(fields) == len(table.header) and _has_box(fields, edges)
        }
        self.normalised = all(_are_fractions(table) for _, table in self._tables)
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
        edges = _edges(table)
        places = [
            *(place for place in [part.folder / part.split] if place.is_dir()),
            *image_places(part.folder, table.name),
        ]
        rows: dict[str, list[Row]] = {}
        sizes: dict[str, tuple[int, int] | None] = {}
        lines: dict[str, str] = {}
        for line, fields in table.rows:
            where = f"line {line}"
            if len(fields) != len(table.header):
                msg = f"{table.name}, {where} has {len(fields)} fields, but the first line names {len(table.header)}"
                raise DataError(msg)
            name = fields[image].strip()
            sizes.setdefault(name, None if self.normalised else _size(table, fields))
            lines.setdefault(name, f"{table.name}, {where}")
            boxes = rows.setdefault(name, [])
            if not _has_box(fields, edges):
                continue
            try:
                left, top, right, bottom = (float(fields[at]) for at in edges)
            except ValueError as error:
                msg = f"{table.name}, {where}: the edges of the box are not four numbers"
                raise DataError(msg) from error
            boxes.append(Row(where, self.classes.index(_class_of(fields, label)), (left, top, right, bottom)))
        for name, boxes in rows.items():
            file = required_image(places, name, lines[name])
            yield AnnotatedImage(readable(name), file, table.name, boxes, sizes[name])


def _edges(table: Table) -> list[int]:
    """Return the columns of the edges. The list has fewer than four entries if the table has no boxes."""
    found = (next((at for name in names if (at := table.column(name)) is not None), None) for names in EDGES)
    return [at for at in found if at is not None]


def _has_box(fields: Sequence[str], edges: Sequence[int]) -> bool:
    return any(fields[at].strip() for at in edges)


def _are_fractions(table: Table) -> bool:
    """Return True if no edge exceeds 1, so that the edges are fractions of the image size."""
    edges = _edges(table)
    values = [fields[at] for _, fields in table.rows if len(fields) == len(table.header) for at in edges if fields[at]]
    return only_numbers(values) and any(map(float, values)) and max(map(float, values)) <= 1


def _class_of(fields: Sequence[str], column: int | None) -> str:
    return ONLY_CLASS if column is None else fields[column].strip()


def _size(table: Table, fields: list[str]) -> tuple[int, int] | None:
    """Return the height and width that a row states, or None."""
    places = [table.column(side) for side in SIZES[::-1]]
    values = ["" if at is None else fields[at].strip() for at in places]
    return (int(values[0]), int(values[1])) if all(map(whole_number, values)) else None


def _columns(table: Table, options: ReadOptions) -> tuple[int, int | None]:
    """Return the columns of the image files and of the classes.

    The column of the classes is None if all boxes have one class.

    Raise an error if a column is missing.
    """
    image = _column(table, "image_column", options.image_column, IMAGES)
    others = {name.strip().lower() for at, name in enumerate(table.header) if at not in (image, *_edges(table))}
    if options.label_column is None and others <= {*SIZES}:
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
    return table is not None and bool(table.rows) and len(_edges(table)) == len(EDGES)


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

"""Data set of images and a `.csv` with a column of file names and columns of numbers.

The first line names the columns, with the unit in brackets if there is one: `image,steering [deg],speed [m/s]`. The
column of file names is the one whose first entry is the name of an image. File names are relative to the table. A
column `split` states `train`, `val` or `test`. If there is no such column, consecutive parts of the recording become
the splits. The order is that of the rows, or of the column `time` if there is one. All other columns are values to
learn.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.dataset import SPLITS
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.evaluation.datasets.measured import Measured, MeasuredFile, by_time, left_out_note
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.table_images import image_places, required_image
from orilla.runtime.evaluation.datasets.tables import is_table, read_table, split_column, start_of, table_files
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES
from orilla.runtime.tasks.decoding import Decoding

OPTIONS = ("encoding", "columns", "image_column")
"""Options that this reader understands."""

HEADING = re.compile(r"\s*(.*?)\s*(?:\[\s*([^\]]*?)\s*\])?\s*")
"""Pattern of a column's heading: its name and optional unit."""

TIME = "time"
"""Name of a column that is not a value."""

SIZES = frozenset({"width", "height", "roi.x1", "roi.y1", "roi.x2", "roi.y2"})
"""Names of columns, in lower case, that describe the image file, as in GTSRB."""


class ImageTable(Measured):
    """Images with a table of numbers.

    Args:
        top: Folder of the table.
        file: The table.
        path: Path that the user gave.
        options: Options of the reader.
    """

    def __init__(self, top: tree.Folder, file: tree.Folder, path: Path, options: ReadOptions) -> None:
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and numbers of {readable(file.name)}", "not stated")
        self._top, self._file = top, readable(file.name)
        table = read_table(file, options)
        if table.header and not table.header[0].strip() and _is_index(table):
            table = table.without_first_column()
        header, self._rows = table.header, table.rows
        headings = [_name_and_unit(text) for text in header]
        names = [name for name, _ in headings]
        double = [name for index, name in enumerate(names) if name in names[:index]]
        if double or "" in names:
            problem = f"names the column {double[0]} twice" if double else "has a column without a name"
            msg = f"{self._file} {problem}: correct its first line"
            raise DataError(msg)
        if not self._rows:
            msg = f"{self._file} has no rows below its first line"
            raise DataError(msg)
        self._image = (
            _image_column(self._rows[0].fields)
            if options.image_column is None
            else table.stated("image_column", options.image_column)
        )
        if self._image is None:
            msg = f"{self._file}: no field of the first row is the name of an image file: set `image_column`"
            raise DataError(msg)
        self._split = split_column(table)
        known = {names.index(TIME)} if TIME in names else set()
        known |= {self._image} if self._split is None else {self._image, self._split}
        others = [index for index in range(len(names)) if index not in known]
        unused = [index for index in others if self._is_useless(index)]
        self._unused = unused if len(unused) < len(others) else []
        known.update(self._unused)
        self._columns = [index for index in range(len(names)) if index not in known]
        self._time = names.index(TIME) if TIME in names else None
        self._names = names
        self.classes = tuple(names[index] for index in self._columns)
        if not self.classes:
            msg = f"{self._file} has no column of numbers: add one, as in steering [deg]"
            raise DataError(msg)
        self._refuse_columns()
        self._has_decimal_commas = self._are_decimal_commas()
        numbers = [self._numbers(line, fields) for line, fields in self._rows]
        units = tuple(headings[index][1] for index in self._columns)
        self.decoding = Decoding(units=units if any(units) else (), ranges=self._ranges(numbers))
        self._values = numbers

    @cached_property
    def samples(self) -> dict[str, list[MeasuredFile]]:
        """Return the samples of each split."""
        return self._divided[0]

    def notes(self) -> list[str]:
        """Return notes about omitted columns and images, if there are any."""
        unused = ", ".join(self._names[index] for index in self._unused)
        note = f"columns without numbers to learn are not used: {unused}"
        return [*([note] if unused else []), *left_out_note(self._divided[1])]

    @cached_property
    def _divided(self) -> tuple[dict[str, list[MeasuredFile]], int]:
        files = self._files()
        if self._split is None:
            order = range(len(files))
            if self._time is not None:
                times = [self._number(line, fields, self._time) for line, fields in self._rows]
                order = sorted(order, key=times.__getitem__)  # type: ignore[assignment]
            return by_time([[files[index] for index in order]])
        divided: dict[str, list[MeasuredFile]] = {split: [] for split in SPLITS}
        for file, (line, fields) in zip(files, self._rows, strict=True):
            split = tree.SPLITS.get(fields[self._split].strip().lower())
            if split is None:
                msg = f"{self._file}, line {line}: the split {fields[self._split][:60]!r} is not train, val or test"
                raise DataError(msg)
            divided[split].append(file)
        return {split: own for split, own in divided.items() if own}, 0

    def _files(self) -> list[MeasuredFile]:
        lines: dict[str, int] = {}
        files = []
        assert self._image is not None
        places = image_places(self._top, self._file)
        for (line, fields), values in zip(self._rows, self._values, strict=True):
            name = fields[self._image].strip()
            if name in lines:
                msg = f"{self._file}, line {line}: the image {readable(name)[:100]!r} is also in line {lines[name]}"
                raise DataError(msg)
            lines[name] = line
            files.append(
                MeasuredFile(readable(name), required_image(places, name, f"{self._file}, line {line}"), values)
            )
        return files

    def _is_useless(self, column: int) -> bool:
        """Return True if a column names the images of another camera, or has the same number in every row."""
        values = {fields[column].strip() for _, fields in self._rows if column < len(fields)}
        return all(value.lower().endswith(IMAGE_SUFFIXES) for value in values) or (
            len(values) == 1 < len(self._rows) and only_numbers([*values])
        )

    def _numbers(self, line: int, fields: list[str]) -> tuple[float, ...]:
        if len(fields) != len(self._names):
            msg = f"{self._file}, line {line} has {len(fields)} fields, but the first line names {len(self._names)}"
            raise DataError(msg)
        return tuple(self._number(line, fields, index) for index in self._columns)

    def _number(self, line: int, fields: list[str], column: int) -> float:
        try:
            number = float(fields[column].replace(",", ".") if self._has_decimal_commas else fields[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            msg = f"{self._file}, line {line}: {self._names[column]} is {fields[column][:60]!r}, which is not a number"
            raise DataError(msg)
        return number

    def _are_decimal_commas(self) -> bool:
        """Return True if numbers have decimal commas, as in many countries. Such numbers have no decimal point."""
        columns = [*self._columns, *([] if self._time is None else [self._time])]
        values = [fields[at] for _, fields in self._rows for at in columns if at < len(fields)]
        return any("," in value for value in values) and not any("." in value for value in values)

    def _refuse_columns(self) -> None:
        """Raise `DataError` if the columns are not numbers to learn, but only image sizes or attributes."""
        if {name.lower() for name in self.classes} <= SIZES:
            msg = f"{self._file} has only sizes and regions of images: add a column of classes or of numbers to learn"
            raise DataError(msg)
        values = {fields[at].strip() for _, fields in self._rows for at in self._columns if at < len(fields)}
        if len(self.classes) > 1 and values <= {"-1", "1"}:
            named = ", ".join(self.classes[:6]) + (", ..." if len(self.classes) > 6 else "")
            msg = (
                f"{self._file} has {len(self.classes)} attributes, of which several may apply to an image: set "
                f"`label_column` to one of them ({named})"
            )
            raise DataError(msg)

    def _ranges(self, numbers: Sequence[tuple[float, ...]]) -> tuple[tuple[float, float], ...]:
        """Return the range of each value. A range that contains 0 is symmetric about 0."""
        ranges = []
        for name, column in zip(self.classes, zip(*numbers, strict=True), strict=True):
            low, high = min(column), max(column)
            if low == high:
                msg = f"{self._file}: {name} is {low:g} in every row, so there is nothing to learn: remove the column"
                raise DataError(msg)
            limit = max(-low, high)
            ranges.append((-limit, limit) if low < 0 < high else (low, high))
        return tuple(ranges)


def _is_index(table: Table) -> bool:
    """Return True if the first column numbers the rows, as pandas writes it without a name."""
    return all(row.fields[0].strip() == str(number) for number, row in enumerate(table.rows))


def _name_and_unit(text: str) -> tuple[str, str]:
    """Return the name of a column and its unit, which may be empty."""
    found = HEADING.fullmatch(text)
    return (found[1], found[2] or "") if found else (text.strip(), "")


def _image_column(fields: Sequence[str]) -> int | None:
    """Return the index of the first field that is the name of an image."""
    return next((at for at, text in enumerate(fields) if text.strip().lower().endswith(IMAGE_SUFFIXES)), None)


def recognise(path: Path, options: ReadOptions = NO_OPTIONS) -> str | None:
    """Return the reason why a path is recognised as a table of images or a folder with such a table, or None."""
    found = _found(path, options)
    return f"the rows of {readable(found[0][1].name)} name image files" if found else None


def open_dataset(path: Path, options: ReadOptions = NO_OPTIONS) -> ImageTable:
    """Open a table, or the only table of this kind in a folder or zip."""
    top, file = only_table(path, _found(path, options), "has no .csv with a column of image files")
    return ImageTable(top, file, path, options)


def only_table(path: Path, found: list[tuple[tree.Folder, tree.Folder]], lack: str) -> tuple[tree.Folder, tree.Folder]:
    """Return the only table that was found, with its folder. Raise `DataError` if there are several or none."""
    if len(found) > 1:
        names = " and ".join(readable(file.name) for _, file in found[:2])
        msg = f"{path} has several tables ({names}): give the path of one of them"
        raise DataError(msg)
    if not found:
        msg = f"not a data set: {path} {lack}"
        raise DataError(msg)
    return found[0]


def tables_in(path: Path, fits: Callable[[tree.Folder], bool]) -> list[tuple[tree.Folder, tree.Folder]]:
    """Return the table at a path, or the tables in the first folder that contains any. Each comes with its folder.

    Args:
        path: Path of a table, or of a folder or zip.
        fits: Function that returns True for a table that the reader can read.
    """
    if is_table(path):
        return [(path.parent, path)] if fits(path) else []
    for top in tree.candidates(path):
        tables = [(top, file) for file in table_files(top) if fits(file)]
        if tables:
            return tables
    return []


def _found(path: Path, options: ReadOptions) -> list[tuple[tree.Folder, tree.Folder]]:
    """Return the tables with images, each with its folder."""
    return tables_in(path, lambda file: _names_images(file, options))


def _names_images(file: tree.Folder, options: ReadOptions) -> bool:
    """Return True if a field of the first row of a table is the name of an image."""
    table = start_of(file, options)
    if table is None or not table.rows:
        return False
    if options.image_column is not None:
        return table.column(options.image_column) is not None
    return _image_column(table.rows[0].fields) is not None

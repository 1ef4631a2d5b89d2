"""Data set of images and a table with the class of each image, as in many competitions.

The table has a column of image files, with or without a suffix, and a column of classes named `label` or similar, or
one column with 0 or 1 for each class. The images lie beside the table or in a folder such as `images/` or `train/`. A
column `split`, or one table per split (`train.csv`, `val.csv`), states the splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import File
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedImage, ListedDataset
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.image_table import only_table
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.tables import is_table, read_table, start_of, table_files
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

OPTIONS = ("encoding", "columns", "image_column", "label_column")
"""Options that this reader understands."""

LABELS = ("label", "labels", "class", "class_name", "classname", "category", "target", "species", "breed", "label_name")
"""Names of the columns that may contain the classes, in lower case."""

IMAGES = (
    *("image", "images", "image_id", "image_name", "image_path", "img", "filename", "file_name", "file", "filepath"),
    *("path", "id"),
)
"""Names of the columns that may contain the image files, in lower case."""

FOLDERS = ("images", "train", "train_images", "img", "imgs", "test", "val", "valid", "data")
"""Names of folders in which the images of a table may lie."""

MAX_PLACES = 20
"""Maximum number of other folders beside the table in which images are searched for."""

MANY_CLASSES = 20
"""Number of classes that is accepted for a table of any length."""

BOX_COLUMNS = {"xmin", "x_min", "x1", "bbox"}
"""Names of columns of tables with boxes, in lower case."""


Part = tuple[str, tree.Folder, tree.Folder]
"""Split of a table (or an empty string), its folder, and its file."""

Labelled = tuple[str, tree.Folder, str]
"""Split of an image (or an empty string), its file, and its class."""


class ImageLabels(ListedDataset[File]):
    """Images whose classes are in a table."""

    task = "classify"

    def __init__(self, tables: Sequence[tuple[str, tree.Folder, Table]], path: Path, options: ReadOptions) -> None:
        top = tables[0][1]
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and classes of {tables[0][2].name}", "not stated")
        self._rows = [row for split, folder, table in tables for row in _rows(split, folder, table, options)]
        self.classes = tuple(sorted({label for _, _, label in self._rows}, key=_by_number))
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
        has_splits = all(split for split, _, _ in self._rows)
        for split, file, label in self._rows:
            own = split if has_splits else tree.split_of(tree.read(file))
            samples[own].append(File(readable(file.name), file, order[label]))
        for split, files in samples.items():
            name, count = Counter(file.name for file in files).most_common(1)[0] if files else ("", 1)
            if count > 1:
                msg = f"{self.source.title}: the image {name} occurs twice in {split}: remove one row"
                raise DataError(msg)
        return {split: files for split, files in samples.items() if files}

    def load(self, split: str, index: int) -> ClassifiedImage:
        """Load one sample."""
        sample = self.samples_of(split)[index]
        return ClassifiedImage(sample.name, tree.decoded(sample.file), sample.label)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of a sample's file."""
        return tree.read(self.samples[split][index].file)


def _by_number(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isascii() and label.isdecimal() and len(label) < 10 else (1 << 40, label)


def _rows(
    split: str, folder: tree.Folder, table: Table, options: ReadOptions
) -> Iterator[tuple[str, tree.Folder, str]]:
    """Yield the split, the file and the class of each row. The split is empty if it is not stated."""
    image = _image_column(table, options)
    assert image is not None
    label, split_at = _label_column(table, options, image), table.column("split")
    one_hot = [] if label is not None else _class_columns(table, image)
    named = (Path(table.name).stem, f"{Path(table.name).stem}_images", *FOLDERS)
    places = [folder, *(place for name in named if (place := folder / name).is_dir())]
    places += [place for place in tree.folders(folder)[:MAX_PLACES] if place.name not in named]
    for line, fields in table.rows:
        where = f"{table.name}, line {line}"
        if len(fields) != len(table.header):
            msg = f"{where} has {len(fields)} fields, but the first line names {len(table.header)}"
            raise DataError(msg)
        file = _file(places, fields[image].strip())
        if file is None:
            name = readable(fields[image].strip())[:100]
            msg = f"{where}: there is no image {name!r}: correct the name, or remove the line"
            raise DataError(msg)
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
        return name
    chosen = [table.header[at].strip() for at in columns if fields[at].strip() in ("1", "1.0")]
    if len(chosen) != 1:
        msg = f"{where}: {len(chosen)} columns of classes are 1, but an image must have exactly one class"
        raise DataError(msg)
    return chosen[0]


def _stated_split(text: str, where: str) -> str:
    split = tree.SPLITS.get(text.strip().lower())
    if split is None:
        msg = f"{where}: the split {text[:60]!r} is not train, val or test"
        raise DataError(msg)
    return split


def _file(places: Sequence[tree.Folder], name: str) -> tree.Folder | None:
    """Return the image file with this name, with or without a suffix, in one of the folders."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        return None
    suffixes = ("",) if path.suffix.lower() in IMAGE_SUFFIXES else IMAGE_SUFFIXES
    candidates = (place.joinpath(*path.parts[:-1], f"{path.name}{suffix}") for place in places for suffix in suffixes)
    return next((file for file in candidates if file.is_file()), None)


def _image_column(table: Table, options: ReadOptions) -> int | None:
    """Return the index of the column with the image files, or None."""
    if options.image_column is not None:
        return table.stated("image_column", options.image_column)
    first = table.rows[0].fields if table.rows else []
    named = next((at for at, text in enumerate(first) if text.strip().lower().endswith(IMAGE_SUFFIXES)), None)
    return named if named is not None else next((at for name in IMAGES if (at := table.column(name)) is not None), None)


def _label_column(table: Table, options: ReadOptions, image: int) -> int | None:
    """Return the index of the column with the classes, or None."""
    if options.label_column is not None:
        return table.stated("label_column", options.label_column)
    return next((at for name in LABELS if (at := table.column(name)) is not None and at != image), None)


def _class_columns(table: Table, image: int) -> list[int]:
    """Return the columns that state the classes with 0 and 1, or an empty list."""
    columns = [at for at, name in enumerate(table.header) if at != image and name.strip().lower() != "split"]
    rows = [fields for _, fields in table.rows if len(fields) == len(table.header)]
    values = {fields[at].strip() for fields in rows for at in columns}
    return columns if len(columns) > 1 and rows and values <= {"0", "1", "0.0", "1.0"} else []


def _fits(file: tree.Folder, options: ReadOptions) -> bool:
    """Return True if a table has a column of image files and a column of classes."""
    table = start_of(file, options)
    if table is None or not table.rows or {name.strip().lower() for name in table.header} & BOX_COLUMNS:
        return False
    if options.image_column is not None and table.column(options.image_column) is None:
        return False
    image = _image_column(table, options)
    if image is None:
        return False
    if options.label_column is not None:
        return table.column(options.label_column) is not None
    label = _label_column(table, options, image)
    if label is None:
        return bool(_class_columns(table, image))
    values = [fields[label] for _, fields in table.rows if len(fields) == len(table.header)]
    return not (only_numbers(values) and any("." in value for value in values))


def _tables(path: Path, options: ReadOptions) -> list[Part]:
    """Return the tables with images and classes at a path."""
    if is_table(path):
        return [("", path.parent, path)] if _fits(path, options) else []
    for top in tree.candidates(path):
        found: list[Part] = []
        for folder in (top, *tree.split_folders(top).values()):
            name = "" if folder == top else folder.name
            fitting = [file for file in table_files(folder) if _fits(file, options)]
            found += [(_split_in(f"{name} {file.name}"), folder, file) for file in fitting]
        splits = [split for split, _, _ in found]
        if len(found) > 1 and "" not in splits and len(set(splits)) == len(splits):
            return found
        if found:
            return [("", folder, file) for _, folder, file in found]
    return []


def _split_in(name: str) -> str:
    """Return the split that is part of the name of a file or folder, or an empty string."""
    return next((tree.SPLITS[word] for word in words_of(name) if word in tree.SPLITS), "")


def _has_an_image(split: str, folder: tree.Folder, file: tree.Folder, options: ReadOptions) -> bool:
    """Return True if the image of the first row exists."""
    table = start_of(file, options)
    if table is None:
        return False
    try:
        next(_rows(split, folder, table._replace(rows=table.rows[:1]), options))
    except DataError:
        return False
    return True


def recognise(path: Path, options: ReadOptions = NO_OPTIONS) -> str | None:
    """Return why a path contains images and a table with their classes."""
    found = _tables(path, options)
    if not found or not any(_has_an_image(*table, options) for table in found):
        return None
    return f"{readable(found[0][2].name)} lists image files and their classes"


def open_dataset(path: Path, options: ReadOptions = NO_OPTIONS) -> ImageLabels:
    """Open the table, or one table per split, in a folder or zip."""
    found = _tables(path, options)
    if not found or (len(found) > 1 and not all(split for split, _, _ in found)):
        tables = [(folder, file) for _, folder, file in found]
        only_table(path, tables, "has no .csv with columns of images and classes")
    return ImageLabels([(split, folder, read_table(file, options)) for split, folder, file in found], path, options)

"""Find tables with the classes of images, and their columns: one table, one per split, or one per class."""

from __future__ import annotations

from pathlib import Path

from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.box_columns import box_columns
from orilla.runtime.evaluation.datasets.delimited import Table, only_numbers
from orilla.runtime.evaluation.datasets.folder_words import words_of
from orilla.runtime.evaluation.datasets.options import ReadOptions
from orilla.runtime.evaluation.datasets.tables import is_table, split_column, start_of, table_files
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

LABELS = (
    *("label", "labels", "class", "class_name", "classname", "category", "target", "species", "breed", "label_name"),
    *("classid", "class_id", "label_id", "category_id", "diagnosis", "dx"),
)
"""Names of the columns that may contain the classes, in lower case."""

IMAGES = (
    *("image", "images", "image_id", "image_name", "image_path", "img", "filename", "file_name", "file", "filepath"),
    *("path", "id", "id_code"),
)
"""Names of the columns that may contain the image files, in lower case."""

Part = tuple[str, tree.Folder, tree.Folder]
"""Split of a table (or an empty string), its folder, and its file."""


def image_column(table: Table, options: ReadOptions) -> int | None:
    """Return the index of the column with the image files, or None."""
    if options.image_column is not None:
        return table.stated("image_column", options.image_column)
    first = table.rows[0].fields if table.rows else []
    named = next((at for at, text in enumerate(first) if text.strip().lower().endswith(IMAGE_SUFFIXES)), None)
    return named if named is not None else next((at for name in IMAGES if (at := table.column(name)) is not None), None)


def label_column(table: Table, options: ReadOptions, image: int) -> int | None:
    """Return the index of the column with the classes, or None."""
    if options.label_column is not None:
        return table.stated("label_column", options.label_column)
    named = next((at for name in LABELS if (at := table.column(name)) is not None and at != image), None)
    return named if named is not None else _only_column(table, image)


def _only_column(table: Table, image: int) -> int | None:
    """Return the only column besides the image column and `split`, if its values are names, or 0 and 1."""
    others = [at for at, name in enumerate(table.header) if at not in (image, split_column(table)) and name.strip()]
    values = {fields[others[0]].strip() for _, fields in table.rows if others and others[0] < len(fields)}
    are_classes = len(values) > 1 and (
        values <= {"0", "1"} or not any(only_numbers([value.replace(",", ".")]) for value in values)
    )
    return others[0] if len(others) == 1 and are_classes else None


def class_columns(table: Table, image: int) -> list[int]:
    """Return the columns that state the classes with 0 and 1, or an empty list."""
    split = split_column(table)
    columns = [at for at, name in enumerate(table.header) if at not in (image, split) and name.strip()]
    rows = [fields for _, fields in table.rows if len(fields) == len(table.header)]
    values = {fields[at].strip() for fields in rows for at in columns}
    return columns if len(columns) > 1 and rows and values <= {"0", "1", "0.0", "1.0"} else []


def _fits(file: tree.Folder, options: ReadOptions) -> bool:
    """Return True if a table has a column of image files and a column of classes."""
    table = start_of(file, options)
    if table is None or not table.rows or box_columns(table) is not None:
        return False
    if options.image_column is not None and table.column(options.image_column) is None:
        return False
    image = image_column(table, options)
    if image is None:
        return False
    if options.label_column is not None:
        return table.column(options.label_column) is not None
    label = label_column(table, options, image)
    if label is None:
        return bool(class_columns(table, image))
    values = [fields[label] for _, fields in table.rows if len(fields) == len(table.header)]
    return not (only_numbers(values) and any(not float(value).is_integer() for value in values))


def tables_of(path: Path, options: ReadOptions) -> list[Part]:
    """Return the tables with images and classes at a path."""
    if is_table(path):
        return [("", path.parent, path)] if _fits(path, options) else []
    for top in tree.candidates(path):
        found: list[Part] = []
        for folder in (top, *tree.split_folders(top).values()):
            name = "" if folder == top else folder.name
            fitting = [file for file in table_files(folder) if _fits(file, options)]
            found += [(_split_in(f"{name} {file.name}"), folder, file) for file in fitting]
        found = _without_meta(found, options)
        splits = [split for split, _, _ in found]
        if len(found) > 1 and "" not in splits and len(set(splits)) == len(splits):
            return found
        if found:
            return [("", folder, file) for _, folder, file in found]
        if parts := _in_parts(top, options) or _per_class(top, options):
            return parts
    return []


def _in_parts(top: tree.Folder, options: ReadOptions) -> list[Part]:
    """Return the tables below folders whose names contain a split, such as `Final_Training/Images/`, as in GTSRB."""
    parts: list[Part] = []
    for folder in tree.folders(top):
        split, place = _split_in(folder.name), folder
        while split and not table_files(place) and len(inner := tree.folders(place)) == 1:
            place = inner[0]
        if split:
            fitting = [("", place, file) for file in table_files(place) if _fits(file, options)]
            parts += [(split, *part[1:]) for part in fitting or _per_class(place, options)]
    return parts if len({split for split, _, _ in parts}) > 1 else []


def _without_meta(parts: list[Part], options: ReadOptions) -> list[Part]:
    """Drop tables with one image per class if there are other tables.

    Such tables only show what the classes look like.
    """
    others = [part for part in parts if not _names_each_class_once(part[2], options)]
    return others or parts


def _names_each_class_once(file: tree.Folder, options: ReadOptions) -> bool:
    table = start_of(file, options)
    image = None if table is None else image_column(table, options)
    label = None if table is None or image is None else label_column(table, options, image)
    if table is None or label is None:
        return False
    values = [fields[label] for _, fields in table.rows if label < len(fields)]
    return len(set(values)) == len(values)


def _per_class(top: tree.Folder, options: ReadOptions) -> list[Part]:
    """Return the tables in the subfolders of a folder if most of the subfolders have one table each, as in GTSRB."""
    folders = tree.folders(top)
    tables = [(folder, fitting) for folder in folders if (fitting := table_files(folder))]
    if len(tables) < 2 or len(tables) < len(folders) / 2 or any(len(files) > 1 for _, files in tables):
        return []
    parts = [("", folder, files[0]) for folder, files in tables if _fits(files[0], options)]
    return parts if len(parts) == len(tables) else []


def _split_in(name: str) -> str:
    """Return the split that is part of the name of a file or folder, or an empty string."""
    return next((tree.SPLITS[word] for word in words_of(name) if word in tree.SPLITS), "")

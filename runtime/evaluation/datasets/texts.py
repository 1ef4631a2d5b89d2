"""Data set of texts in two or more classes: a folder of `.txt` files per class, as in aclImdb, or a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.class_folders import ClassFolders, top_of, why_classes
from orilla.runtime.evaluation.datasets.dataset import SPLITS, ClassifiedText, ListedDataset
from orilla.runtime.evaluation.datasets.delimited import Table, by_number, whole_name
from orilla.runtime.evaluation.datasets.options import NO_OPTIONS, ReadOptions
from orilla.runtime.evaluation.datasets.table_header import why_data
from orilla.runtime.evaluation.datasets.tables import ADVICE, SUFFIXES, is_table, read_table, split_column, start_of

OPTIONS = ("encoding", "columns", "text_column", "label_column")
"""Options that this reader understands."""

COLUMNS = ("text", "label")
IMDB = Source("imdb", "IMDB reviews", "for research (Maas et al. 2011)")
MANY_CLASSES = 20
"""A table with at most this many classes is accepted, however short it is."""

LOOKED_AT = 200
"""Number of rows that are examined to find the columns of texts and classes."""


class TextFolders(ClassFolders):
    """Texts in class folders. Classes are the folder names in alphabetical order."""

    task = "text"
    suffixes = (".txt",)
    kind = "text"

    def __init__(self, top: tree.Folder, path: Path, encoding: str | None = None) -> None:
        super().__init__(top, path)
        self._encoding = encoding

    def source_of(self, name: str) -> Source:
        """Return the description of a data set with this folder name."""
        return IMDB if name.lower().startswith("aclimdb") else Source(name, f"texts in {name}/", "not stated")

    def load(self, split: str, index: int) -> ClassifiedText:
        """Load one sample."""
        sample = self.sample(split, index)
        return ClassifiedText(sample.name, _text(tree.read(sample.file), sample.name, self._encoding), sample.label)


class TextTable(ListedDataset[ClassifiedText]):
    """A table with columns of texts and classes, and optionally a column `split`, or one such table per split.

    Args:
        path: Path that the user gave.
        tables: File of each table, by split. If there is only one table, its split is an empty string.
        options: Options of the reader.
    """

    task = "text"

    def __init__(self, path: Path, tables: Mapping[str, tree.Folder], options: ReadOptions) -> None:
        self.source = Source(path.stem, f"texts in {path.name}", "not stated")
        rows = []
        for split, file in tables.items():
            where = path if file == path else path / file.name
            rows += [(text, label, own or split) for text, label, own in _rows(file, where, options)]
        self.classes = tuple(sorted({label for _, label, _ in rows}, key=by_number))
        if len(self.classes) < 2:
            msg = f"{path} has only one label, {self.classes[0]!r}: a classifier needs two or more"
            raise DataError(msg)
        if len(self.classes) > max(MANY_CLASSES, len(rows) / 2):
            msg = (
                f"{path} has {len(self.classes)} different labels in {len(rows)} rows: set `label_column` to the "
                "column of the classes"
            )
            raise DataError(msg)
        order = {name: label for label, name in enumerate(self.classes)}
        self._samples: dict[str, list[ClassifiedText]] = {split: [] for split in SPLITS}
        for number, (text, label, split) in enumerate(rows):
            known_split = tree.SPLITS.get(split.lower()) if split else tree.split_of(text.encode())
            if known_split is None:
                msg = f"{path} row {number + 1}: split {split!r} must be train, val or test"
                raise DataError(msg)
            self._samples[known_split].append(ClassifiedText(f"row {number + 1}", text, order[label]))
        self._samples = {split: samples for split, samples in self._samples.items() if samples}

    @property
    def samples(self) -> dict[str, list[ClassifiedText]]:
        """Return the rows of each split."""
        return self._samples

    def load(self, split: str, index: int) -> ClassifiedText:
        """Return a row."""
        return self.samples_of(split)[index]

    def content(self, split: str, index: int) -> bytes:
        """Return the text in UTF-8."""
        return self._samples[split][index].text.encode()


def recognise(path: Path, options: ReadOptions = NO_OPTIONS) -> str | None:
    """Return the reason why a path is recognised as texts, or None.

    It is recognised if it is a table, or contains two or more folders of texts, with or without splits.
    """
    if is_table(path):
        return "a table without a column of image files"
    if tables := _split_tables(path, options):
        return f"{', '.join(file.name for file in tables.values())} are tables of texts and classes"
    if options.text_column is not None or options.label_column is not None:
        return None
    top = top_of(path, TextFolders.suffixes)
    return None if top is None else why_classes(top, TextFolders.suffixes, "texts")


def open_dataset(path: Path, options: ReadOptions = NO_OPTIONS) -> TextFolders | TextTable:
    """Open a table, or the class folders in a folder or zip. They may lie inside another folder."""
    if is_table(path):
        return TextTable(path, {"": path}, options)
    if tables := _split_tables(path, options):
        return TextTable(path, tables, options)
    lack = "does not have two folders of .txt files, one per class"
    return TextFolders(tree.required(top_of(path, TextFolders.suffixes), path, lack), path, options.encoding)


def _split_tables(path: Path, options: ReadOptions) -> dict[str, tree.Folder]:
    """Return the tables of texts in a folder or zip whose names indicate a split, such as `train.csv`.

    The keys are the splits.
    """
    columns = (options.text_column or COLUMNS[0], options.label_column or COLUMNS[1])
    for top in tree.candidates(path):
        named = {tree.SPLITS.get(Path(file.name).stem.lower(), ""): file for file in tree.files(top, SUFFIXES)}
        tables = {split: file for split, file in named.items() if split and _has_columns(file, columns, options)}
        if "train" in tables:
            return (
                {split: tables[split] for split in SPLITS if split in tables}
                if len(tables) > 1
                else {"": tables["train"]}
            )
    return {}


def _has_columns(file: tree.Folder, columns: Sequence[str], options: ReadOptions) -> bool:
    """Return True if a table has these columns, or if it contains texts and classes but no header line."""
    table = start_of(file, options)
    if table is None:
        return False
    is_headless = options.columns is None and not options.names_columns and why_data(table) is not None
    return None not in (_likely(table) if is_headless else map(table.column, columns))


def _rows(file: tree.Folder, path: Path, options: ReadOptions) -> list[tuple[str, str, str]]:
    """Return the text, label and split of each row. The split is empty if the table has no split column."""
    table = read_table(file, options)
    chosen = [
        _column(path, table, name, stated)
        for name, stated in zip(COLUMNS, (options.text_column, options.label_column), strict=True)
    ]
    split = split_column(table)
    if not table.rows:
        msg = f"{path} has no rows"
        raise DataError(msg)
    rows = []
    for number, (_, fields) in enumerate(table.rows, 1):
        if len(fields) > len(table.header):
            msg = f"{path} row {number} has too many fields: put texts with commas in quotes"
            raise DataError(msg)
        text, label, part = (
            "" if at is None or at >= len(fields) else fields[at] for at in (chosen[0], chosen[1], split)
        )
        if not label.strip():
            msg = f"{path} row {number} has no label"
            raise DataError(msg)
        rows.append((text, whole_name(label.strip()), part.strip()))
    return rows


def _column(path: Path, table: Table, name: str, stated: str | None) -> int:
    """Return the index of a column.

    If there is no such column, raise an error that lists the columns and suggests the likely ones.
    """
    if stated is not None:
        return table.stated(f"{name}_column", stated)
    index = table.column(name)
    if index is None:
        text, label = _likely(table)
        advice = ""
        if text is not None and label is not None:
            advice = f"; set `text_column` to {text!r} and `label_column` to {label!r} if these are the right columns"
        msg = f"{path} has no column {name!r}: its first line names {table.columns()}{advice}"
        raise DataError(msg)
    return index


def _likely(table: Table) -> tuple[str | None, str | None]:
    """Return the names of the columns that probably contain the texts and the classes, or None."""
    rows = [fields for _, fields in table.rows[:LOOKED_AT] if len(fields) == len(table.header)]
    if len(rows) < 2:
        return None, None
    columns = list(zip(*rows, strict=True))
    lengths = [sum(map(len, column)) / len(column) for column in columns]
    text = max(range(len(columns)), key=lengths.__getitem__)
    few = [index for index in range(len(columns)) if index != text and 2 <= len(set(columns[index])) <= len(rows) / 2]
    label = min(few, key=lambda index: len(set(columns[index])), default=None)
    return table.header[text].strip(), None if label is None else table.header[label].strip()


def _text(data: bytes, name: str, encoding: str | None) -> str:
    text = tree.decode_text(data, name, encoding, ADVICE)
    if not text.strip():
        msg = f"{name} is empty: remove it"
        raise DataError(msg)
    return text

"""The command `orilla data`: download published data sets, and show the contents of any data set."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.devices.names import counted
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.evaluation.datasets.options import add_arguments as add_reading_arguments
from orilla.runtime.evaluation.datasets.options import options_of, with_options

if TYPE_CHECKING:
    from orilla.runtime.evaluation.datasets import Dataset
    from orilla.runtime.evaluation.datasets.download import Progress
    from orilla.runtime.terminal.console import ResultConsole

MAX_CLASSES = 12
"""Maximum number of classes that the row of a split lists."""

MAX_LISTED = 40
"""Maximum number of classes that are listed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "action",
        choices=("list", "get", "show"),
        help="list: list the published data sets; get: download one of them; show: show the contents of any data set",
    )
    parser.add_argument(
        "name",
        nargs="?",
        help="name of a published data set; for `show`, any data set, with the same values as for orilla train --data",
    )
    add_reading_arguments(parser.add_argument_group("options of `show`"))


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row in the table of published data sets."""

    title: str
    licence: str
    here: bool
    """True if the data set is in the cache."""


@dataclass(frozen=True, slots=True)
class KindRow:
    """A row in the table of data set kinds."""

    description: str
    package: str | None
    """Package that adds the kind, with its version. None if the kind is part of Orilla."""


@dataclass(frozen=True, slots=True)
class PublishedResult(CommandResult):
    """The published data sets, and the kinds of data sets that can be opened."""

    cache: str
    """Folder in which downloaded data sets are stored."""
    published: dict[str, PublishedRow]
    """Data sets by name."""
    kinds: dict[str, KindRow]
    """Kinds of data sets by name."""

    def render(self, console: ResultConsole) -> None:
        """Print a table of data sets and a table of kinds."""
        from rich.table import Table

        table = Table(title=f"published data sets; the cache is {self.cache}")
        for column in ("name", "description", "licence", "here"):
            table.add_column(column, no_wrap=column == "name")
        for name, row in self.published.items():
            table.add_row(name, row.title, row.licence, "yes" if row.here else "")
        console.print_table(table)
        table = Table(title="kinds of data sets, for --data KIND:PATH")
        table.add_column("kind", no_wrap=True)
        table.add_column("description")
        for name, kind in self.kinds.items():
            table.add_row(name, kind.description + (f" (of {kind.package})" if kind.package else ""))
        console.print_table(table)


@dataclass(frozen=True, slots=True)
class SplitRow:
    """A split of a data set."""

    samples: int
    """Number of samples."""
    classes: dict[str, int]
    """Number of samples of each class. Empty if samples do not have exactly one class."""


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A value of a regression, with its unit, which may be empty, its minimum and its maximum."""

    unit: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DatasetResult(CommandResult):
    """The contents of a data set."""

    optional = ("folder", "notes", "values", "others")

    folder: str | None
    """Folder of the downloaded data set. None if the command did not download it."""
    name: str
    title: str
    licence: str
    kind: str
    """Kind of the data set, which determines how its files are read."""
    reason: str
    """Reason why the files are read as this kind."""
    others: tuple[str, ...] | None
    """Other kinds that fit the files, most specific first. None if there are none."""
    task: str
    classes: tuple[str, ...]
    splits: dict[str, SplitRow]
    """Splits by name."""
    notes: tuple[str, ...] | None
    """Corrections that the reader made, such as clipped boxes. None if there are none."""
    values: dict[str, ValueRow] | None = None
    """Values of a regression by name. None for other tasks."""

    def render(self, console: ResultConsole) -> None:
        """Print the data set and a table of its splits."""
        from rich.table import Table

        console.print_line(f"{self.title} ({self.task}); licence: {self.licence}")
        console.print_line(f"read as {self.kind}: {self.reason}")
        for kind in self.others or ():
            console.print_line(f"could also be read as {kind}: --data {kind}:PATH")
        if len(self.classes) <= MAX_LISTED:
            console.print_line(
                f"{counted(len(self.classes), 'class')}: {', '.join(self.classes)}" if self.classes else "no classes"
            )
        else:
            console.print_line(f"{counted(len(self.classes), 'class')}: {', '.join(self.classes[:MAX_LISTED])}, ...")
        table = Table()
        for column in ("split", "samples", "per class"):
            table.add_column(column)
        for name, split in self.splits.items():
            counts = [f"{label} {count}" for label, count in split.classes.items()]
            summary = ", ".join(counts[:MAX_CLASSES]) + (" ..." if len(counts) > MAX_CLASSES else "")
            table.add_row(name, str(split.samples), summary)
        console.print_table(table)
        for name, value in (self.values or {}).items():
            console.print_line(f"{name}: {value.low:g} to {value.high:g} {value.unit}".rstrip())
        for note in self.notes or ():
            console.print_line(note)


def execute(arguments: argparse.Namespace) -> PublishedResult | DatasetResult:
    """List published data sets, or download or describe one."""
    from orilla.runtime.evaluation.datasets import download

    if arguments.action == "list":
        rows = {
            name: PublishedRow(entry.title, entry.licence, download.downloaded(name) is not None)
            for name, entry in download.published().items()
        }
        from orilla.runtime.evaluation.datasets.registry import READERS
        from orilla.runtime.files import cache_folder

        kinds = {name: KindRow(kind.description, READERS.package(name)) for name, kind in READERS.items()}
        return PublishedResult(str(cache_folder()), rows, kinds)
    if not arguments.name:
        msg = f"orilla data {arguments.action} needs a name"
        raise ConfigError(msg)
    if arguments.action == "show":
        return _describe(with_options(arguments.name, options_of(arguments)))
    with DownloadBars() as bars:
        folder = download.get(arguments.name, bars)
    return _describe(arguments.name, folder)


def _describe(spec: str, folder: Path | None = None) -> DatasetResult:
    from orilla.runtime.evaluation.datasets.registry import open_dataset, reading_of
    from orilla.runtime.tasks.registry import task_of

    dataset, reading = open_dataset(spec), reading_of(spec)
    splits = {}
    for split in dataset.splits:
        counts = Counter(dataset.labels(split)) if task_of(dataset.task).classifies else {}
        names = dict(enumerate(dataset.classes))  # The classes of an array file have no names.
        classes = {names.get(label, str(label)): counts[label] for label in sorted(counts)}
        splits[split] = SplitRow(len(dataset.names(split)), classes)
    source = dataset.source
    return DatasetResult(
        folder=None if folder is None else str(folder),
        name=source.name,
        title=source.title,
        licence=source.licence,
        kind=reading.kind,
        reason=reading.reason,
        others=reading.others or None,
        task=dataset.task,
        classes=dataset.classes,
        splits=splits,
        notes=tuple(dataset.notes()) or None,
        values=_values(dataset),
    )


def _values(dataset: Dataset) -> dict[str, ValueRow] | None:
    """Return the values of a regression data set, or None for other tasks."""
    decoding = dataset.decoding
    if not decoding.ranges:
        return None
    units = decoding.units or ("",) * len(dataset.classes)
    rows = zip(dataset.classes, units, decoding.ranges, strict=True)
    return {name: ValueRow(unit, *limits) for name, unit, limits in rows}


class DownloadBars:
    """Context manager that shows a progress bar for each file on standard error."""

    def __enter__(self) -> DownloadBars:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Bars(*columns, console=Console(stderr=True))
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def __call__(self, name: str) -> Progress:
        """Add a progress bar for a file. Return the function that updates the bar."""
        task = self._bars.add_task(name, total=None)
        return lambda completed, total: self._bars.update(task, completed=completed, total=total)

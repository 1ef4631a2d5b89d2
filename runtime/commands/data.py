"""The command `orilla data`: download published data sets, and show the contents of any."""

from __future__ import annotations

import argparse
from collections import Counter

from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.evaluation.datasets.download import Progress, get, published
from orilla.runtime.files import cache_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("action", choices=("list", "get", "show"), help="list or get published data sets, or show any")
    parser.add_argument("name", nargs="?", help="name of a published data set, or a value of --data of orilla train")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Download or describe a data set. Return the exit code and the JSON document."""
    from orilla.devices.errors import ConfigError

    if arguments.action == "list":
        here = {name: (cache_folder() / name / "complete").exists() for name in published()}
        rows = {
            name: {"title": one.title, "licence": one.licence, "here": here[name]} for name, one in published().items()
        }
        return 0, {"cache": str(cache_folder()), "published": rows}
    if not arguments.name:
        msg = f"orilla data {arguments.action} needs a name"
        raise ConfigError(msg)
    if arguments.action == "get":
        with _bars() as summary:
            folder = get(arguments.name, summary)
        return 0, {"folder": str(folder), **_describe(arguments.name)}
    return 0, _describe(arguments.name)


def _describe(spec: str) -> dict[str, object]:
    dataset = open_dataset(spec)
    splits = {}
    for split in dataset.splits:
        counts = Counter(dataset.labels(split)) if dataset.task != "segment" else {}
        of_class = {dataset.classes[label]: counts[label] for label in sorted(counts)}
        splits[split] = {"samples": len(dataset.names(split)), "classes": of_class}
    return {
        "name": dataset.source.name,
        "title": dataset.source.title,
        "licence": dataset.source.licence,
        "task": dataset.task,
        "classes": dataset.classes,
        "splits": splits,
    }


class _bars:  # noqa: N801 - used as a context manager
    """One progress bar per file."""

    def __enter__(self) -> _bars:
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
        task = self._bars.add_task(name, total=None)
        return lambda there, total: self._bars.update(task, completed=there, total=total)


def show(document: dict[str, object]) -> None:
    """Print tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    if "published" in document:
        table = Table(title=f"published data sets; the cache is {document['cache']}")
        for column in ("name", "description", "licence", "here"):
            table.add_column(column, no_wrap=column == "name")
        for name, one in document["published"].items():  # type: ignore[attr-defined]
            table.add_row(name, one["title"], one["licence"], "yes" if one["here"] else "")
        console.print(table)
        return
    console.print(f"{document['title']} ({document['task']}); licence: {document['licence']}")
    table = Table()
    for column in ("split", "samples", "per class"):
        table.add_column(column)
    for split, one in document["splits"].items():  # type: ignore[attr-defined]
        counts = list(one["classes"].items())
        summary = ", ".join(f"{name} {count}" for name, count in counts[:12]) + (" ..." if len(counts) > 12 else "")
        table.add_row(split, str(one["samples"]), summary)
    console.print(table)

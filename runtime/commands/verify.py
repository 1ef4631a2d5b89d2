"""The command `orilla verify`."""

from __future__ import annotations

import argparse

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle import Bundle
from orilla.runtime.datasets import open_dataset
from orilla.runtime.measures import target_of
from orilla.runtime.verify import VariantVerdict, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "bundle", help="a bundle's path, or the name of one that ships with Orilla: road, convnet, mobilenet, sentiment"
    )
    parser.add_argument(
        "--data", help="also measure accuracy: a data set as orilla train takes it (its val split, else its test split)"
    )
    parser.add_argument("--variant", help="only this variant (default: all)")
    parser.add_argument("--engine", help="on this engine, as orilla devices lists them (default: each variant's own)")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Verifies; exit code 0 where every variant passes, else 1."""
    bundle = Bundle.open(arguments.bundle)
    manifest = bundle.manifest
    variants = manifest.variants if arguments.variant is None else (manifest.variant(arguments.variant),)
    dataset = None
    if arguments.data is not None:
        dataset = open_dataset(arguments.data)
        if not dataset.splits:
            raise DataError(f"data set {arguments.data} has no labelled samples")
        if not dataset.labelled:
            raise DataError(f"{arguments.data} has no labels: there is nothing to measure accuracy by")
        target_of(dataset, manifest.task, manifest.labels)
    verdicts = verify(bundle, variants, dataset, engine=arguments.engine)
    if all(verdict.skipped for verdict in verdicts):
        raise ConfigError(f"nothing to verify: {verdicts[0].skipped}")
    ran = [verdict for verdict in verdicts if verdict.skipped is None]
    passed = all(verdict.passed for verdict in ran)
    return 0 if passed else 1, {
        "bundle": str(bundle.path),
        "verdict": "pass" if passed else "fail",
        "files": len(manifest.files),
        "variants": verdicts,
    }


def show(document: dict[str, object]) -> None:
    """Prints one row for each variant, and every stage of those that fail."""
    from rich.console import Console
    from rich.table import Table

    verdicts: list[VariantVerdict] = document["variants"]  # type: ignore[assignment]
    table = Table(title=f"{document['bundle']}: {document['files']} files, sizes and hashes right")
    for column in ("variant", "engine", "verdict", "stages that agree"):
        table.add_column(column, no_wrap=column == "variant")
    for verdict in verdicts:
        word = "skipped" if verdict.skipped else "pass" if verdict.passed else "FAIL"
        agreed = ", ".join(stage.name for stage in verdict.stages if stage.passed)
        table.add_row(verdict.variant, verdict.engine, word, verdict.skipped or agreed)
    console = Console(markup=False, highlight=False)
    console.print(table)
    for verdict in verdicts:
        for stage in verdict.stages:
            if not stage.passed or stage.name == "accuracy":
                console.print(f"{verdict.variant}: {'ok' if stage.passed else 'FAIL'} {stage.name}: {stage.detail}")
    console.print(f"verdict: {document['verdict']}")

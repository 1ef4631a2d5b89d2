"""The command `orilla verify`."""

from __future__ import annotations

import argparse

from orilla.devices.errors import DataError, unknown_name
from orilla.runtime.bundle import Bundle
from orilla.runtime.datasets import open_dataset
from orilla.runtime.verify import VariantVerdict, verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("bundle", help="a bundle's path, or the name of one that ships with Orilla: road")
    parser.add_argument(
        "--data", help="also measure accuracy: scenes[:SEED], or a CamVid folder or zip (its val split)"
    )
    parser.add_argument("--variant", help="only this variant (default: all)")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Verifies; exit code 0 where every variant passes, else 1."""
    bundle = Bundle.open(arguments.bundle)
    manifest = bundle.manifest
    variants = manifest.variants if arguments.variant is None else (manifest.variant(arguments.variant),)
    dataset = None
    if arguments.data is not None:
        dataset = open_dataset(arguments.data)
        if manifest.labels[0] not in dataset.classes:
            raise unknown_name(f"class of {dataset.source.name}", manifest.labels[0], dataset.classes)
        if not dataset.splits:
            raise DataError(f"data set {arguments.data} has no labelled pictures")
    verdicts = verify(bundle, variants, dataset)
    ran = [verdict for verdict in verdicts if verdict.skipped is None]
    passed = bool(ran) and all(verdict.passed for verdict in ran)
    return 0 if passed else 1, {
        "bundle": str(bundle.path),
        "verdict": "pass" if passed else "fail",
        "files": len(manifest.files),
        "variants": verdicts,
    }


def show(document: dict[str, object]) -> None:
    """Prints each variant's stages."""
    from rich.console import Console
    from rich.table import Table

    verdicts: list[VariantVerdict] = document["variants"]  # type: ignore[assignment]
    table = Table(title=f"{document['bundle']}: {document['files']} files, sizes and hashes right", show_lines=True)
    table.add_column("variant", no_wrap=True)
    table.add_column("verdict")
    table.add_column("stages")
    for verdict in verdicts:
        stages = "\n".join(
            f"{'ok  ' if stage.passed else 'FAIL'} {stage.name}: {stage.detail}" for stage in verdict.stages
        )
        word = "skipped" if verdict.skipped else "pass" if verdict.passed else f"FAIL at {verdict.first_difference}"
        table.add_row(f"{verdict.variant}\n{verdict.engine}", word, verdict.skipped or stages)
    console = Console()
    console.print(table)
    console.print(f"verdict: {document['verdict']}")

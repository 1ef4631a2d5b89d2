"""The command `orilla export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.export.export import MAX_DROP, ExportOptions, export
from orilla.export.recipe import recipes
from orilla.runtime.datasets.labelled import FIRST_METRIC

if TYPE_CHECKING:
    from orilla.runtime.manifest import Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("run", type=Path, help="run folder that orilla train wrote")
    parser.add_argument("--out", type=Path, required=True, help="bundle to write: a .orilla file, or a folder")
    parser.add_argument("--recipes", default="all", help=f"all, or some of {','.join(recipes())} (default: all)")
    parser.add_argument("--calibration", help="data set or folder of pictures (default: the run's training split)")
    parser.add_argument("--calibration-count", type=int, default=100, help="samples to calibrate on (default: 100)")
    parser.add_argument("--validation", help="data set whose val, else test split is checked on (default: the run's)")
    parser.add_argument("--validation-count", type=int, help="check only on so many samples, evenly over the split")
    parser.add_argument(
        "--golden",
        help="pictures (a data set, e.g. scenes) or a .txt file of texts for golden data, where the run's may not be "
        "passed on",
    )
    parser.add_argument("--golden-count", type=int, default=4, help="golden frames (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of the calibration draw (default: 0)")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Exports; returns the exit code and the JSON document."""
    from rich.console import Console

    for name in ("calibration_count", "validation_count", "golden_count"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {getattr(arguments, name)}: must be 1 or more")
    if arguments.out.suffix not in (".orilla", ""):
        raise ConfigError(f"--out {arguments.out}: a bundle is NAME.orilla, or a folder without a suffix")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed}: must be 0 or more")
    if arguments.out.suffix == "" and arguments.out.is_file():
        raise ConfigError(f"--out {arguments.out} is a file that exists: remove it, or give another name")
    if arguments.out.is_dir():
        raise ConfigError(f"--out {arguments.out} is a folder that exists: remove it, or give another name")
    with Console(stderr=True).status("") as status:
        options = ExportOptions(
            recipes=arguments.recipes,
            calibration=arguments.calibration,
            calibration_count=arguments.calibration_count,
            validation=arguments.validation,
            validation_count=arguments.validation_count,
            golden=arguments.golden,
            golden_count=arguments.golden_count,
            seed=arguments.seed,
            step=status.update,
        )
        manifest = export(arguments.run, arguments.out, options)
    variants = [
        {
            "name": variant.name,
            "engine": variant.engine,
            "bytes": manifest.files[variant.file].size,
            "check": variant.check,
            "accepted": variant.check.drop <= MAX_DROP,
        }
        for variant in manifest.variants
    ]
    return 0, {
        "bundle": str(arguments.out),
        "default": manifest.default,
        "report": manifest.report,
        "variants": variants,
        "manifest": manifest,
    }


def show(document: dict[str, object]) -> None:
    """Prints each variant against the original."""
    from rich.console import Console
    from rich.table import Table

    manifest: Manifest = document["manifest"]  # type: ignore[assignment]
    report = manifest.report
    table = Table(title=f"{manifest.name}: variants against the original, {report.count} samples of {report.data}")
    table.add_column("variant", no_wrap=True)
    metric = FIRST_METRIC[manifest.task]
    for column in ("MiB", metric, "drop", "agreement", "mean err", "max err"):
        table.add_column(column, justify="right")
    table.add_row("original", "", f"{report.metrics[metric]:.4f}", "", "", "", "")
    for variant in manifest.variants:
        found = variant.check
        table.add_row(
            variant.name + (" *" if variant.name == manifest.default else ""),
            f"{manifest.files[variant.file].size / 2**20:.2f}",
            f"{found.metrics[metric]:.4f}",
            f"{found.drop:+.2f}" + ("" if found.drop <= MAX_DROP else " !"),
            f"{100 * found.agreement:.2f} %",
            f"{found.mean_error:.5f}",
            f"{found.max_error:.4f}",
        )
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(f"drop: points of {metric}   *: runs by default   !: loses more than 1 point, never the default")
    for name, reason in report.refused.items():
        console.print(f"{name} could not be made: {reason}")
    console.print(f"next: orilla verify {document['bundle']}")

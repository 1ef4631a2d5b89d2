"""The command `orilla show`: show the contents of a bundle."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.names import counted
from orilla.runtime.commands.page_option import add_page, check_page
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.card import Card
    from orilla.runtime.bundle.manifest import Manifest
    from orilla.runtime.terminal.console import ResultConsole

MAX_LABELS = 10
"""Maximum number of labels that are printed."""

MAX_DROP = 1.0
"""Accuracy drop in percentage points above which the table marks a variant. It is the default of `--max-drop` in
`orilla export`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    add_page(parser)


@dataclass(frozen=True, slots=True)
class ShowResult(CommandResult):
    """The contents of a bundle."""

    optional = ("page",)

    bundle: str
    manifest: Manifest
    page: str | None = None
    """The page that was written."""

    def render(self, console: ResultConsole) -> None:
        """Print the model, its variants, and its card."""
        from orilla.runtime.commands.variant_table import print_variants, print_warning

        manifest = self.manifest
        print_warning(console, manifest)
        size = sum(entry.size for entry in manifest.files.values()) / 2**20
        console.print_line(
            f"{manifest.name}: {manifest.task}, {counted(len(manifest.files), 'file')}, {size:.2f} MiB, {self.bundle}"
        )
        if manifest.labels:
            omitted = len(manifest.labels) - MAX_LABELS
            more = f" and {omitted} more" if omitted > 0 else ""
            console.print_line(f"labels: {', '.join(manifest.labels[:MAX_LABELS])}{more}")
        console.print_line(f"input: {manifest.preprocess.describe()}")
        print_variants(console, manifest, MAX_DROP)
        console.print_line(f"{len(manifest.golden)} golden samples")
        if manifest.card is None:
            console.print_line("no card: the model was not trained by Orilla")
        else:
            _print_card(console, manifest.card)
        if self.page is not None:
            console.print_line(f"page: {self.page}")


def execute(arguments: argparse.Namespace) -> ShowResult:
    """Read and check the bundle."""
    from orilla.runtime.bundle.bundle import Bundle

    if arguments.page is not None:
        check_page(arguments.page)
    bundle = Bundle.open(arguments.bundle)
    if arguments.page is not None:
        _write_page(bundle, arguments.page)
    return ShowResult(str(bundle.path), bundle.manifest, None if arguments.page is None else str(arguments.page))


def _write_page(bundle: Bundle, page: Path) -> None:
    from orilla.runtime.commands.export_page import export_page
    from orilla.runtime.commands.fusion_section import fusion_section
    from orilla.runtime.files import write_bytes
    from orilla.runtime.terminal.progress import TerminalProgress

    with TerminalProgress() as progress:
        sections = [fusion_section(bundle, progress)]
    write_bytes(page, export_page(bundle.manifest, MAX_DROP, sections))


def _print_card(console: ResultConsole, card: Card) -> None:
    from orilla.runtime.tasks.registry import task_of

    result, metric = card.measured[0], task_of(card.task).metric
    low, high = result.intervals[metric]
    console.print_line(f"trained on {card.data.title} (licence: {card.data.licence}), from {card.start_weights}")
    console.print_line(
        f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}, seed "
        f"{card.seed}: {metric} {result.metrics[metric]:.4f} ({low:.4f}-{high:.4f}) on {result.split}"
    )
    console.print_line(f"command: {card.command}")

"""The command `orilla show`: show the contents of a bundle."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.tasks.task import FIRST_METRIC

if TYPE_CHECKING:
    from orilla.runtime.bundle.card import Card
    from orilla.runtime.bundle.manifest import Check, Manifest
    from orilla.runtime.terminal import ResultConsole

MAX_LABELS = 10
"""Maximum number of labels that are printed."""

WIDE, WIDE_FROM = ("p90 ms", "SQNR dB", "max error"), 100
"""Columns for wide terminals, and the width from which they are shown."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")


@dataclass(frozen=True, slots=True)
class ShowResult(CommandResult):
    """The contents of a bundle."""

    bundle: str
    manifest: Manifest

    def render(self, console: ResultConsole) -> None:
        """Print the model, its variants, and its card."""
        manifest = self.manifest
        size = sum(entry.size for entry in manifest.files.values()) / 2**20
        console.print_line(
            f"{manifest.name}: {manifest.task}, {len(manifest.files)} files, {size:.2f} MiB, {self.bundle}"
        )
        if manifest.labels:
            omitted = len(manifest.labels) - MAX_LABELS
            more = f" and {omitted} more" if omitted > 0 else ""
            console.print_line(f"labels: {', '.join(manifest.labels[:MAX_LABELS])}{more}")
        console.print_line(f"input: {_describe_input(manifest)}")
        print_variants(console, manifest, 1.0)
        console.print_line(f"{len(manifest.golden)} golden samples")
        if manifest.card is None:
            console.print_line("no card: the model was not trained by Orilla")
        else:
            _print_card(console, manifest.card)


def execute(arguments: argparse.Namespace) -> ShowResult:
    """Read and check the bundle."""
    bundle = Bundle.open(arguments.bundle)
    return ShowResult(str(bundle.path), bundle.manifest)


def _print_card(console: ResultConsole, card: Card) -> None:
    result, metric = card.measured[0], FIRST_METRIC[card.task]
    low, high = result.intervals[metric]
    console.print_line(f"trained on {card.data.title} (licence: {card.data.licence}), from {card.start_weights}")
    console.print_line(
        f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}, seed "
        f"{card.seed}: {metric} {result.metrics[metric]:.4f} ({low:.4f}-{high:.4f}) on {result.split}"
    )
    console.print_line(f"command: {card.command}")


def print_variants(console: ResultConsole, manifest: Manifest, limit: float) -> None:
    """Print the comparison of each variant with the original model.

    Args:
        console: The console.
        manifest: The manifest.
        limit: Accuracy that a variant may lose, points.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    report, metric = manifest.report, FIRST_METRIC[manifest.task]
    truth = "" if report.truth == "labels" else ", compared with its own answers"
    title = f"{manifest.name} compared with the original, {report.count} samples of {report.data}{truth}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    columns = ("MiB", f"{metric}, 95 %", "drop", "agree", "p50 ms", *(WIDE if console.width >= WIDE_FROM else ()))
    table.add_column("variant", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row("original", "", f"{report.metrics[metric]:.4f}       ")
    for variant in manifest.variants:
        check, latency = variant.check, variant.latency
        half = (check.interval[1] - check.interval[0]) / 2
        cells = (
            f"{manifest.files[variant.file].size / 2**20:.2f}",
            f"{check.metrics[metric]:.4f} ±{half:.3f}",
            f"{check.drop:+.2f}" + ("" if check.drop <= limit else " !"),
            f"{100 * check.agreement:.1f} %",
            "" if latency is None else f"{latency.p50_ms:.3f}",
            "" if latency is None or latency.p90_ms is None else f"{latency.p90_ms:.3f}",
            "exact" if check.sqnr_db is None else f"{check.sqnr_db:.1f}",
            f"{check.max_error:.4f}",
        )
        table.add_row(variant.name + (" *" if variant.name == manifest.default else ""), *cells[: len(columns)])
    console.print(table)
    console.print_line(
        f"drop: points of {metric}   *: default   !: loses more than {limit:g}, so it cannot be the default"
    )
    if manifest.variant(manifest.default).check.drop > limit:
        console.print_line(
            f"no variant loses less than {limit:g}: {manifest.default}, which loses least, is the default"
        )
    for variant in manifest.variants:
        for remark in _remarks(variant.check, report.count):
            console.print_line(f"{variant.name}: {remark}")
    for name, reason in report.failed.items():
        console.print_line(f"{name} failed: {reason}")
    for reason in dict.fromkeys(report.not_applicable.values()):
        names = ", ".join(name for name, its_reason in report.not_applicable.items() if its_reason == reason)
        console.print_line(f"not applicable, {reason}: {names}")
    if report.timed_on:
        console.print_line(f"times: {report.timed_on}, variants interleaved")


def _remarks(check: Check, count: int) -> list[str]:
    """Return unusual properties of a variant's outputs."""
    remarks = []
    if check.saturated > 0.001:
        remarks.append(f"{100 * check.saturated:.1f} % of its outputs are clipped at the end of its range")
    if check.sum_error is not None and check.sum_error > 0.02:
        remarks.append(f"its probabilities differ from a sum of one by up to {check.sum_error:.3f}")
    if check.count < count:
        remarks.append(f"checked on {check.count} of {count} samples, because it is slow")
    return remarks


def _describe_input(manifest: Manifest) -> str:
    from orilla.runtime.preprocessing.image import Preprocess
    from orilla.runtime.preprocessing.text import TextPreprocess

    spec = manifest.preprocess
    if isinstance(spec, Preprocess):
        return f"images of any size, resized to {spec.size_hw[0]}x{spec.size_hw[1]}, {spec.color.upper()} 0-255"
    if isinstance(spec, TextPreprocess):
        return f"texts, as {spec.length} tokens"
    return ", ".join(f"{tensor.name} {list(tensor.shape)} {tensor.dtype}" for tensor in spec.inputs)

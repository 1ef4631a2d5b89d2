"""The command `orilla show`: show the contents of a bundle."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, TextIO

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.tasks.task import FIRST_METRIC

if TYPE_CHECKING:
    from orilla.runtime.bundle.manifest import Check, Manifest


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Read and check the bundle. Return the exit code and the JSON document."""
    bundle = Bundle.open(arguments.bundle)
    return 0, {"bundle": str(bundle.path), "manifest": bundle.manifest}


def show(document: dict[str, object]) -> None:
    """Print the model, its variants, and its card."""
    from rich.console import Console

    manifest: Manifest = document["manifest"]  # type: ignore[assignment]
    plain = _Plain(sys.stdout)
    console = Console(markup=False, highlight=False, force_terminal=False, file=plain)  # type: ignore[arg-type]
    size = sum(entry.size for entry in manifest.files.values()) / 2**20
    console.print(
        f"{manifest.name}: {manifest.task}, {len(manifest.files)} files, {size:.2f} MiB, {document['bundle']}"
    )
    if manifest.labels:
        more = "" if len(manifest.labels) <= 10 else f" and {len(manifest.labels) - 10} more"
        console.print(f"labels: {', '.join(manifest.labels[:10])}{more}")
    console.print(f"input: {_input(manifest)}")
    variants(console, manifest, 1.0)
    console.print(f"{len(manifest.golden)} golden samples")
    card = manifest.card
    if card is None:
        console.print("no card: the model was not trained by Orilla")
        return
    first = card.measured[0]
    metric = FIRST_METRIC[card.task]
    low, high = first.intervals[metric]
    console.print(f"trained on {card.data.title} (licence: {card.data.licence}), from {card.start_weights}")
    console.print(
        f"{card.parameters:,} parameters, {card.epochs} epochs in {card.seconds:.0f} s on {card.machine}, seed "
        f"{card.seed}: {metric} {first.metrics[metric]:.4f} ({low:.4f}-{high:.4f}) on {first.split}"
    )
    console.print(f"command: {card.command}")


class _Plain:
    """Standard output without escape sequences, which a bundle from elsewhere may contain in its texts."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write("".join(sign if sign.isprintable() or sign == "\n" else "?" for sign in text))

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def variants(console: object, manifest: Manifest, limit: float) -> None:
    """Print the comparison of each variant with the original model.

    Args:
        console: A `rich.console.Console`.
        manifest: The manifest.
        limit: Accuracy that a variant may lose, points.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    assert isinstance(console, Console)
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
        found, latency = variant.check, variant.latency
        half = (found.interval[1] - found.interval[0]) / 2
        cells = (
            f"{manifest.files[variant.file].size / 2**20:.2f}",
            f"{found.metrics[metric]:.4f} ±{half:.3f}",
            f"{found.drop:+.2f}" + ("" if found.drop <= limit else " !"),
            f"{100 * found.agreement:.1f} %",
            "" if latency is None else f"{latency.p50_ms:.3f}",
            "" if latency is None or latency.p90_ms is None else f"{latency.p90_ms:.3f}",
            "exact" if found.sqnr_db is None else f"{found.sqnr_db:.1f}",
            f"{found.max_error:.4f}",
        )
        table.add_row(variant.name + (" *" if variant.name == manifest.default else ""), *cells[: len(columns)])
    console.print(table)
    console.print(f"drop: points of {metric}   *: default   !: loses more than {limit:g}, so it cannot be the default")
    if manifest.variant(manifest.default).check.drop > limit:
        console.print(f"no variant loses less than {limit:g}: {manifest.default}, which loses least, is the default")
    for variant in manifest.variants:
        for remark in _remarks(variant.check, report.count):
            console.print(f"{variant.name}: {remark}")
    for name, reason in report.failed.items():
        console.print(f"{name} failed: {reason}")
    for reason in dict.fromkeys(report.not_applicable.values()):
        names = ", ".join(name for name, other in report.not_applicable.items() if other == reason)
        console.print(f"not applicable, {reason}: {names}")
    if report.timed_on:
        console.print(f"times: {report.timed_on}, variants interleaved")


WIDE, WIDE_FROM = ("p90 ms", "SQNR dB", "max error"), 100
"""Columns for wide terminals, and the width from which they are shown."""


def _remarks(found: Check, count: int) -> list[str]:
    """Return unusual properties of a variant's outputs."""
    said = []
    if found.saturated > 0.001:
        said.append(f"{100 * found.saturated:.1f} % of its outputs are clipped at the end of its range")
    if found.sum_error is not None and found.sum_error > 0.02:
        said.append(f"its probabilities differ from a sum of one by up to {found.sum_error:.3f}")
    if found.count < count:
        said.append(f"checked on {found.count} of {count} samples, because it is slow")
    return said


def _input(manifest: Manifest) -> str:
    from orilla.runtime.preprocessing.image import Preprocess
    from orilla.runtime.preprocessing.text import TextPreprocess

    spec = manifest.preprocess
    if isinstance(spec, Preprocess):
        return f"images of any size, resized to {spec.size_hw[0]}x{spec.size_hw[1]}, {spec.color.upper()} 0-255"
    if isinstance(spec, TextPreprocess):
        return f"texts, as {spec.length} tokens"
    return ", ".join(f"{one.name} {list(one.shape)} {one.dtype}" for one in spec.inputs)

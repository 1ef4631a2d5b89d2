"""The result of `orilla export` and `orilla import`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.runtime.commands.result import CommandResult
from orilla.runtime.engines.registry import default_engine

if TYPE_CHECKING:
    from orilla.runtime.bundle.comparison import Pareto
    from orilla.runtime.bundle.manifest import Check, Latency, Manifest, Report
    from orilla.runtime.terminal.console import ResultConsole


@dataclass(frozen=True, slots=True)
class VariantRow:
    """One variant in the exported bundle."""

    name: str
    engine: str
    bytes: int
    check: Check
    latency: Latency | None
    accepted: bool
    """True if the accuracy drops by at most `max_drop` points."""


@dataclass(frozen=True, slots=True)
class ExportResult(CommandResult):
    """Result of `orilla export`, which describes the bundle that was written."""

    hidden = ("required",)
    optional = ("page",)

    bundle: str
    default: str
    max_drop: float
    report: Report
    variants: list[VariantRow]
    pareto: Pareto
    """The variants compared by accuracy, latency and size."""
    manifest: Manifest
    page: str | None
    """The page that was written."""
    required: bool
    """True if the user stated `max_drop`."""

    @property
    def exit_code(self) -> int:
        """Return 1 if the user stated a largest drop that no variant meets, else 0."""
        drop = self.manifest.variant(self.default).check.drop
        return 1 if self.required and drop > self.max_drop else 0

    def render(self, console: ResultConsole) -> None:
        """Print the comparison of each variant with the original model."""
        from orilla.runtime.commands.variant_table import print_variants, print_warning

        print_warning(console, self.manifest)
        print_variants(console, self.manifest, self.max_drop)
        if self.page is not None:
            console.print_line(f"page: {self.page}")
        console.print_line(f"next: orilla verify {self.bundle}")


def result_of(manifest: Manifest, out: Path, max_drop: float, page: Path | None, *, required: bool) -> ExportResult:
    """Return the description of a bundle that was written.

    Args:
        manifest: The manifest of the bundle.
        out: Path of the bundle.
        max_drop: Largest drop of accuracy that is allowed for the default variant, in points.
        page: The page that was written, or None.
        required: True if the user stated `max_drop`.
    """
    from orilla.runtime.bundle.comparison import pareto

    variants = [
        VariantRow(
            name=variant.name,
            engine=default_engine(variant.format),
            bytes=manifest.files[variant.file].size,
            check=variant.check,
            latency=variant.latency,
            accepted=variant.check.drop <= max_drop,
        )
        for variant in manifest.variants
    ]
    return ExportResult(
        bundle=str(out),
        default=manifest.default,
        max_drop=max_drop,
        report=manifest.report,
        variants=variants,
        pareto=pareto(manifest, max_drop),
        manifest=manifest,
        page=None if page is None else str(page),
        required=required,
    )

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
    kept: bool
    """True if the bundle contains the variant."""


@dataclass(frozen=True, slots=True)
class ExportResult(CommandResult):
    """Result of `orilla export`, which describes the bundle that was written."""

    hidden = ("measured", "required")
    optional = ("page",)

    bundle: str
    default: str
    max_drop: float
    report: Report
    variants: list[VariantRow]
    pareto: Pareto
    """The variants compared by accuracy, latency and size."""
    manifest: Manifest
    measured: Manifest
    """The manifest with all variants that were built. The bundle may contain fewer."""
    required: bool
    """True if the user stated `max_drop`."""
    page: str | None = None
    """The page that was written."""

    @property
    def exit_code(self) -> int:
        """Return 1 if the user stated a largest drop that no variant meets, else 0."""
        drop = self.manifest.variant(self.default).check.drop
        return 1 if self.required and drop > self.max_drop else 0

    def render(self, console: ResultConsole) -> None:
        """Print the comparison of each variant with the original model."""
        from orilla.runtime.commands.variant_table import print_variants, print_warning

        print_warning(console, self.manifest)
        print_variants(console, self.measured, self.max_drop)
        left_out = [row.name for row in self.variants if not row.kept]
        if left_out:
            kept = ", ".join(row.name for row in self.variants if row.kept)
            console.print_line(f"the bundle keeps what a robot needs: {kept}")
            console.print_line(f"left out, --for all keeps them: {', '.join(left_out)}")
        if self.page is not None:
            console.print_line(f"page: {self.page}")
        console.print_line(f"next: orilla verify {self.bundle}")


def result_of(measured: Manifest, manifest: Manifest, out: Path, max_drop: float, *, required: bool) -> ExportResult:
    """Return the description of a bundle that was written.

    Args:
        measured: The manifest with all variants that were built.
        manifest: The manifest of the bundle.
        out: Path of the bundle.
        max_drop: Largest drop of accuracy that is allowed for the default variant, in points.
        required: True if the user stated `max_drop`.
    """
    from orilla.runtime.bundle.comparison import pareto

    variants = [
        VariantRow(
            name=variant.name,
            engine=default_engine(variant.format),
            bytes=measured.files[variant.file].size,
            check=variant.check,
            latency=variant.latency,
            accepted=variant.check.drop <= max_drop,
            kept=variant.name in {each.name for each in manifest.variants},
        )
        for variant in measured.variants
    ]
    return ExportResult(
        bundle=str(out),
        default=manifest.default,
        max_drop=max_drop,
        report=manifest.report,
        variants=variants,
        pareto=pareto(measured, max_drop),
        manifest=manifest,
        measured=measured,
        required=required,
    )

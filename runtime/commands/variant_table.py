"""The comparison of a bundle's variants with the original model, as `orilla show` and `orilla export` print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orilla.devices.names import counted
from orilla.runtime.bundle.choices import choice_lines
from orilla.runtime.bundle.comparison import LOST_DROP, lost_accuracy, pareto, why_default
from orilla.runtime.tasks.metrics.bootstrap import few_samples
from orilla.runtime.tasks.registry import task_of

if TYPE_CHECKING:
    from rich.table import Table

    from orilla.runtime.bundle.comparison import Pareto
    from orilla.runtime.bundle.manifest import Check, Manifest, Report, Variant
    from orilla.runtime.terminal.console import ResultConsole

WIDE_COLUMNS, WIDE_FROM = ("p90 ms", "SQNR dB", "max error"), 100
"""Columns for wide terminals, and the width in characters from which they are shown."""

MAX_SATURATED = 0.001
"""If more than this share of a variant's outputs is clipped, a remark is printed below the table."""

MAX_FRAMES = 6
"""Maximum number of worst samples to print."""

MAX_SUM_ERROR = 0.02
"""If the sum of a variant's probabilities differs from one by more than this value, a remark is printed below the
table."""


def print_warning(console: ResultConsole, manifest: Manifest) -> None:
    """Print a warning, as the first line of a report, if the metrics of the original model are not credible."""
    if manifest.report.warning is not None:
        console.print_line(f"warning: {manifest.report.warning}")


def print_variants(console: ResultConsole, manifest: Manifest, max_drop: float) -> None:
    """Print the comparison of each variant with the original model.

    Args:
        console: The console.
        manifest: The manifest of the bundle.
        max_drop: Largest accuracy drop that the default variant may have, in percentage points.
    """
    compared = pareto(manifest, max_drop)
    console.print_table(_table(manifest, compared, max_drop, is_wide=console.width >= WIDE_FROM))
    for line in [
        *_legend(manifest, max_drop),
        *pareto_lines(compared),
        *worst_lines(manifest.report),
        *search_lines(manifest.report),
        *remark_lines(manifest),
        *failure_lines(manifest.report),
    ]:
        console.print_line(line)
    for line in choice_lines(manifest.report.choices):
        console.print_line(line)
    if manifest.report.timed_on:
        console.print_line(f"times measured on {manifest.report.timed_on}, with the variants interleaved")


def _table(manifest: Manifest, compared: Pareto, max_drop: float, *, is_wide: bool) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    report, metric = manifest.report, task_of(manifest.task).metric
    truth = "" if report.truth == "labels" else ", with the decisions of the original as ground truth"
    title = f"{manifest.name} compared with the original, {report.count} samples of {report.data}{truth}"
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    columns = ("MiB", f"{metric}, 95 %", "drop", "agree", "p50 ms", *(WIDE_COLUMNS if is_wide else ()))
    table.add_column("variant", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row("original", "", f"{report.metrics[metric]:.4f}       ")
    for variant in manifest.variants:
        table.add_row(
            f"{variant.name} {marks(manifest, compared, variant.name)}",
            *_cells(manifest, variant, max_drop)[: len(columns)],
        )
    return table


def marks(manifest: Manifest, compared: Pareto, name: str) -> str:
    """Return the marks of a variant: `*` for the default, `+` for the knee, and `-` for a dominated variant."""
    of_default = "*" if name == manifest.default else ""
    of_front = "-" if name in compared.dominated else "+" if name == compared.knee and not compared.is_alone else ""
    return of_default + of_front


def _cells(manifest: Manifest, variant: Variant, max_drop: float) -> tuple[str, ...]:
    check, latency, metric = variant.check, variant.latency, task_of(manifest.task).metric
    half_interval = (check.interval[1] - check.interval[0]) / 2
    return (
        f"{manifest.files[variant.file].size / 2**20:.2f}",
        f"{check.metrics[metric]:.4f} ±{half_interval:.3f}",
        f"{check.drop:+.2f}" + _verdict_on(check.drop, max_drop),
        f"{100 * check.agreement:.1f} %",
        "" if latency is None else f"{latency.p50_ms:.3f}",
        "" if latency is None or latency.p90_ms is None else f"{latency.p90_ms:.3f}",
        "exact" if check.sqnr_db is None else f"{check.sqnr_db:.1f}",
        f"{check.max_error:.4f}",
    )


def _verdict_on(drop: float, max_drop: float) -> str:
    if drop > LOST_DROP:
        return " FAILED"
    return " !" if drop > max_drop else ""


def _legend(manifest: Manifest, max_drop: float) -> list[str]:
    metric = task_of(manifest.task).metric
    lost = [
        f"FAILED: {variant.name}: {reason}"
        for variant in manifest.variants
        if (reason := lost_accuracy(manifest, variant)) is not None
    ]
    few = few_samples(manifest.report.count)
    return [
        *([f"warning: {few}"] if few else []),
        *lost,
        f"drop: points of {metric}   *: default   !: drop above {max_drop:g}, so the variant cannot be the default",
        why_default(manifest, max_drop),
    ]


def pareto_lines(compared: Pareto) -> list[str]:
    """Return lines that name the knee and the dominated variants."""
    if compared.is_alone:
        return []
    lines = [f"+: knee, the best compromise of {compared.figures}: {compared.knee}"]
    if compared.dominated:
        pairs = ", ".join(f"{name} by {better}" for name, better in compared.dominated.items())
        lines.append(f"-: dominated by a variant that is as good or better in {compared.figures}: {pairs}")
    return lines


def worst_lines(report: Report) -> list[str]:
    """Return lines that describe the samples on which an int8 variant is worst."""
    worst = report.worst
    if worst is None:
        return []
    shown = ", ".join(f"{frame.name} ({100 * frame.agreement:.0f} %)" for frame in worst.frames[:MAX_FRAMES])
    lines = [f"worst samples of {worst.variant}, with the share of equal decisions: {shown}"]
    if worst.missing_classes:
        lines.append(
            f"  the calibration samples lack classes of these samples: {', '.join(worst.missing_classes)}; use "
            "calibration data with all classes"
        )
    gain = worst.recalibration
    if gain is not None:
        kept = f"{worst.variant}_recalibrated was added" if gain.kept else "no gain, so no variant was added"
        lines.append(
            f"  with these samples added to the calibration, the drop on the other {counted(gain.count, 'sample')} is "
            f"{gain.drop_after:+.2f} instead of {gain.drop_before:+.2f}: {kept}"
        )
    return lines


def search_lines(report: Report) -> list[str]:
    """Return lines that list the steps of the search for an accurate int8 variant."""
    if report.search is None:
        return []
    lines = [f"search for an int8 variant with a drop of at most {report.search.max_drop:g}:"]
    for step in report.search.steps:
        verdict = "ok" if step.accepted else "too large"
        subset = f" on {counted(step.count, 'sample')}" if step.count < report.count else ""
        lines.append(f"  {step.variant}, {step.change}: drop {step.drop:+.2f}{subset}, {verdict}")
    if not report.search.complete:
        lines.append(
            "  the time limit ended the search, so the result is not the best possible: use a larger --search-seconds"
        )
    return lines


def remark_lines(manifest: Manifest) -> list[str]:
    """Return lines with unusual facts about the model and its variants."""
    remarks = [
        f"{variant.name}: {remark}"
        for variant in manifest.variants
        for remark in _check_remarks(variant.check, manifest.report.count)
    ]
    return [*manifest.report.doubts, *remarks]


def _check_remarks(check: Check, sample_count: int) -> list[str]:
    """Return unusual properties of a variant's outputs."""
    remarks = []
    if check.metrics.get("objects") == 0:
        remarks.append(
            "the original model finds no object, so the metric means little: use --validation with images of objects"
        )
    if check.saturated > MAX_SATURATED:
        remarks.append(f"{100 * check.saturated:.1f} % of its outputs are clipped at the limits of its range")
    if check.sum_error is not None and check.sum_error > MAX_SUM_ERROR:
        remarks.append(f"the sum of its probabilities differs from one by up to {check.sum_error:.3f}")
    if check.count < sample_count:
        remarks.append(f"checked on {check.count} of {counted(sample_count, 'sample')}, because it is slow")
    return remarks


def failure_lines(report: Report) -> list[str]:
    """Return the variants that failed and those that do not apply to the model, with the reasons."""
    lines = [f"{name} failed: {reason}" for name, reason in report.failed.items()]
    for reason in dict.fromkeys(report.not_applicable.values()):
        names = ", ".join(name for name, its_reason in report.not_applicable.items() if its_reason == reason)
        lines.append(f"not applicable, {reason}: {names}")
    return lines

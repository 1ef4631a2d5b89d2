"""Write a self-contained HTML page about results: distributions, time lines, stages, comparisons and budgets."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from orilla.devices.errors import MissingExtraError
from orilla.runtime.bench.budgets.limits import LimitResult
from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.report.lines import (
    BUDGET_HEADER,
    HEADER,
    budget_row,
    mib,
    percentile,
    result_parts,
    summary_row,
)
from orilla.runtime.bench.result import Result
from orilla.runtime.files import write_bytes
from orilla.runtime.html_page import Page


def check_plots() -> None:
    """Raise `MissingExtraError` if plots cannot be drawn."""
    if find_spec("matplotlib") is None:
        msg = "matplotlib"
        raise MissingExtraError(msg, "report")


def page(results: Sequence[Result], path: Path, judged: Sequence[LimitResult] = ()) -> None:
    """Write the page.

    Args:
        results: The results, which may come from different machines.
        path: Path of the HTML file.
        judged: Limits of budgets, with the figures that were compared with them.

    Raises:
        OutputError: The page cannot be written.
    """
    check_plots()
    from orilla.runtime.bench.report import plots

    names = _names(results)
    bundles = ", ".join(dict.fromkeys(result.subject.bundle for result in results))
    hosts = "; ".join(dict.fromkeys(result.host.description for result in results))
    document = Page(f"Benchmark of {bundles}", f"Measured on {hosts}.")
    for result, name in zip(results, names, strict=True):
        for reason in result.invalid:
            document.text(f"NOT VALID: {name}: {reason}" if len(results) > 1 else f"NOT VALID: {reason}")
    _overview(document, results, names)
    document.heading("Distribution")
    document.text(
        "The curve shows, for each time, the share of inferences that took at most this long. The vertical axis is "
        "stretched so that the slowest times are visible: the distances from 90 % to 99 % and from 99 % to 99.9 % are "
        "about equal."
    )
    document.drawing(plots.distribution(results, names), "cumulative distribution of the times")
    if len(results) > 1:
        document.heading("Comparison")
        medians = [result.main.at(50) for result in results]
        values = [median.ms if median else result.main.max_ms for median, result in zip(medians, results, strict=True)]
        spans = [
            (median.low_ms or median.ms, median.high_ms or median.ms) if median else (value, value)
            for median, value in zip(medians, values, strict=True)
        ]
        document.drawing(
            plots.bars(names, values, spans, "p50 in milliseconds, with its 95 % confidence interval"),
            "medians of all runs",
        )
    if loops := [index for index, result in enumerate(results) if result.subject.scenario == "loop"]:
        document.heading("Stages of the loop")
        some = [results[index] for index in loops], [names[index] for index in loops]
        document.drawing(plots.stages(*some), "median of each stage")
    _budgets(document, judged)
    for result, name in zip(results, names, strict=True):
        document.heading(f"Run: {name}" if len(results) > 1 else "The run")
        document.drawing(
            plots.time_line(result), f"times of {name} in the order of measurement, with the state of the machine"
        )
        _, lines = result_parts(result)
        document.table(HEADER, [summary_row(stage, summary) for stage, summary in result.summary.items()])
        for line in (line for line in lines if not line.startswith(f"{result.headline}  ")):
            document.text(line)
        _versions(document, result)
    write_bytes(path, document.html())


def _overview(document: Page, results: Sequence[Result], names: Sequence[str]) -> None:
    header = ["run", "p50 ms", "p90 ms", "p99 ms", "max", "memory", "start ms", "accuracy", ""]
    rows = []
    for result, name in zip(results, names, strict=True):
        cold, main = result.cold_start, result.main
        measured = result.accuracy
        rows.append(
            [
                name,
                *(percentile(main.at(percent)) for percent in (50, 90, 99)),
                milliseconds(main.max_ms),
                mib(cold.memory_mib) if cold else "–",
                f"{cold.start_ms:.0f}" if cold else "–",
                f"{measured.value:.4f}" if measured else "–",
                "valid" if result.valid and result.complete else "NOT VALID" if result.complete else "interrupted",
            ]
        )
    document.table(header, rows)
    document.text(
        "Brackets contain 95 % confidence intervals. A dash stands for a percentile with too few samples, and a "
        "question mark for a bound that cannot be computed."
    )


def _budgets(document: Page, judged: Sequence[LimitResult]) -> None:
    if judged:
        document.heading("Budgets")
        document.table(BUDGET_HEADER, [budget_row(result) for result in judged])
        for result in judged:
            if result.reason is not None:
                document.text(result.reason)


def _versions(document: Page, result: Result) -> None:
    host = result.host
    packages = ", ".join(f"{name} {version}" for name, version in host.packages.items())
    document.text(
        f"Measured at {result.created} with Orilla {host.orilla}, Python {host.python}, {packages}; bundle "
        f"{result.subject.sha256[:12]}."
    )


def _names(results: Sequence[Result]) -> list[str]:
    """Return a name for each run. Each name contains only the properties that distinguish the run from the others."""
    parts = [
        (
            result.subject.bundle,
            result.subject.variant,
            result.subject.engine,
            f"{result.subject.threads} thread{'s' if result.subject.threads > 1 else ''}",
            result.subject.scenario,
            result.host.name or result.host.description,
            result.created,
        )
        for result in results
    ]
    differing = [index for index in range(len(parts[0])) if len({part[index] for part in parts}) > 1] or [0, 1]
    if len(differing) > 1 and differing[-1] == len(parts[0]) - 1:
        without = [", ".join(part[index] for index in differing[:-1]) for part in parts]
        if len(set(without)) == len(without):
            return without
    return [", ".join(part[index] for index in differing) for part in parts]

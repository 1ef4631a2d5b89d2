"""Output of `orilla bench`: tables, a small histogram, and Markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.result import Result, describe
from orilla.runtime.bench.samples import PERCENTS, Percentile, Summary, mlperf_samples
from orilla.runtime.bench.soak import BURST_S

if TYPE_CHECKING:
    from orilla.runtime.bench.budgets.limits import LimitResult

BARS = " ▁▂▃▄▅▆▇█"

Table = tuple[str, list[str], list[list[str]]]
"""Title, header and rows. The first column is a name."""


def show(document: dict[str, Any]) -> None:
    """Print one document of the command."""
    tables, lines = _PARTS[document["mode"]](document)
    show_tables(tables, lines, as_markdown=bool(document.get("markdown")))


def show_tables(tables: Sequence[Table], lines: Sequence[str], *, as_markdown: bool, left: int = 1) -> None:
    """Print tables and the lines below them.

    Args:
        tables: The tables.
        lines: Lines below the tables.
        as_markdown: True prints Markdown.
        left: Number of text columns, which are left-aligned.
    """
    if as_markdown:
        print(markdown(tables, lines))
        return
    from rich.console import Console
    from rich.table import Table as RichTable

    # Files and pipes get lines of full length, so that reasons and paths can be searched.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 240)
    for title, header, rows in tables:
        table = RichTable(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for place, column in enumerate(header):
            table.add_column(column, justify="left" if place < left else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in lines:
        console.print(line, soft_wrap=True)


def markdown(tables: Sequence[Table], lines: Sequence[str]) -> str:
    """Format tables as Markdown, for comments on a pull request."""
    parts = []
    for title, header, rows in tables:
        parts += [f"**{title}**", ""]
        parts.append("| " + " | ".join(header) + " |")
        parts.append("|" + "|".join("---" if place == 0 else "---:" for place in range(len(header))) + "|")
        parts += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts.append("")
    return "\n".join([*parts, *(f"- {line}" for line in lines)]).rstrip()


def percentile(one: Percentile | None) -> str:
    """Format `4.10 (4.05–4.14)`. A question mark is an unbounded end; a dash means too few samples."""
    if one is None:
        return "–"
    low, high = ("?" if bound is None else milliseconds(bound) for bound in (one.low_ms, one.high_ms))
    return f"{milliseconds(one.ms)} ({low}–{high})"


def mib(size: float | None) -> str:
    """Format a memory size."""
    return "unknown" if size is None else f"{size:.0f} MiB"


def summary_row(name: str, summary: Summary) -> list[str]:
    """Return one row of the table of stages."""
    cells = [percentile(summary.at(percent)) for percent in PERCENTS]
    return [name, *cells, milliseconds(summary.max_ms), f"{summary.count}"]


HEADER = ["ms", "p50 (95 %)", "p90 (95 %)", "p99 (95 %)", "max", "samples"]


BUDGET_HEADER = ["budget", "measured", "allowed", ""]


def budget_row(one: LimitResult) -> list[str]:
    """Return one row of the table of budgets."""
    word = {"met": "met", "exceeded": "EXCEEDED", "implausible": "IMPLAUSIBLE", "elsewhere": "elsewhere"}[one.status]
    return [f"{one.variant} {one.limit}", one.figure, one.allowed, word]


def histogram(times: Sequence[float], width: int = 48) -> str:
    """Return a one-line histogram from the minimum to the 99th percentile. Slower times are in the last place."""
    values = np.asarray(times)
    low, high = float(values.min()), float(np.percentile(values, 99))
    if high <= low:
        return ""
    counts, _ = np.histogram(np.minimum(values, high), bins=width, range=(low, high))
    bars = "".join(BARS[int(np.ceil(8 * count / counts.max()))] for count in counts)
    return f"{milliseconds(low)} {bars} {milliseconds(high)} ms"


def result_parts(result: Result) -> tuple[list[Table], list[str]]:
    """Return the table and the lines of one result."""
    rows = [summary_row(stage, summary) for stage, summary in result.summary.items()]
    main, lines = result.main, []
    if drawn := histogram(result.kept(result.headline)):
        lines.append(f"{result.headline}  {drawn}")
    for name, needed in main.withheld().items():
        lines.append(f"{name} is omitted: it needs at least {needed} samples")
    if (median := main.at(50)) is not None and median.independent < main.count / 2:
        lines.append(f"consecutive times are correlated: the effective sample size of p50 is {median.independent}")
    lines.append(
        f"{result.per_second:.1f} frames per second over {result.seconds:.1f} s; processor time {result.cpu_ms:.2f} ms "
        f"per frame; peak memory of the process {mib(result.peak_mib)}"
    )
    if result.cold_start is not None:
        lines.append(
            f"start {result.cold_start.start_ms:.0f} ms to the first answer, memory "
            f"{mib(result.cold_start.memory_mib)} (new process)"
        )
    warm = result.warm_up
    lines.append(
        f"warm-up {warm.count} in {warm.seconds:.1f} s, the first {milliseconds(warm.first_ms)} ms, "
        f"{'steady' if warm.steady else 'not steady'}"
    )
    lines += _machine_lines(result)
    if result.drops:
        lines.append("dropped " + ", ".join(f"{count} {reason}" for reason, count in result.drops.items()))
    if result.accuracy is not None:
        found = result.accuracy
        low, high = found.interval
        line = (
            f"{found.metric} {found.value:.4f} ({low:.4f} – {high:.4f}) on {found.count} of {found.data} {found.split}"
        )
        lines.append(line + (f", {_beside(found.drop)} the original" if found.drop is not None else ""))
    if result.soak is not None:
        lines += _soak_lines(result)
    if result.subject.scenario == "single-stream" and not result.meets_mlperf:
        needed = mlperf_samples(90)
        lines.append(f"MLPerf's single-stream needs 1024 queries and 60 s; p90 within 0.5 % needs {needed} samples")
    lines += result.notes
    lines += [f"NOT VALID: {reason}" for reason in result.invalid]
    return [(f"{describe(result.subject)}\n{result.host.description}", HEADER, rows)], lines


def _beside(drop: float) -> str:
    return f"{abs(drop):.2f} points {'below' if drop > 0 else 'above'}"


def _machine_lines(result: Result) -> list[str]:
    heat = [one.temperature_c for one in result.timeline if one.temperature_c is not None]
    clock = [one.mhz for one in result.timeline if one.mhz is not None]
    parts = []
    if heat:
        parts.append(f"temperature {heat[0]:.0f} to {heat[-1]:.0f} °C, at most {max(heat):.0f}")
    if clock:
        parts.append(f"clock {min(clock):.0f} to {max(clock):.0f} MHz")
    if result.joules is not None:
        frames = result.per_second * result.seconds
        parts.append(f"{1e3 * result.joules / frames:.2f} mJ per frame ({result.energy_source})")
    missing = [name for name, known in (("temperature", heat), ("energy", result.joules is not None)) if not known]
    if missing:
        parts.append(f"no sensor of {' or '.join(missing)} here")
    return ["; ".join(parts)] if parts else []


def _soak_lines(result: Result) -> list[str]:
    soak = result.soak
    assert soak is not None
    if result.seconds < 2 * BURST_S:
        return [f"soak: {result.seconds:.0f} s are too short to compare sustained times with a burst of {BURST_S:g} s"]
    settled = f"settled after {soak.steady_after_s:.0f} s" if soak.steady_after_s is not None else "not settled"
    return [
        f"soak: {settled}, judged by {soak.judged_by}; sustained p50 {percentile(soak.sustained.at(50))} compared "
        f"with burst {percentile(soak.burst.at(50))}: {100 * (soak.slowdown - 1):+.1f} %"
    ]


def _run_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    tables, lines = result_parts(document["result"])
    if "trends" in document:
        more, parts = _history_parts(document)
        tables, lines = [*tables, *more], [*lines, *parts]
    written = [document[key] for key in ("out", "history", "report") if document.get(key)]
    return tables, [*lines, *(f"written: {path}" for path in written)]


def _compare_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    rows = [
        [
            change.percentile,
            milliseconds(change.a_ms),
            milliseconds(change.b_ms),
            f"{change.percent:+.1f} ± {change.plus_minus:.1f} %",
            change.verdict,
        ]
        for change in document["changes"]
    ]
    lines = [f"A: {document['a']}", f"B: {document['b']}"]
    if document["memory_mib"]:
        a, b = document["memory_mib"]
        lines.append(f"memory {a:.1f} MiB in A, {b:.1f} in B")
    lines += document["notes"]
    by = (
        "" if document["verdict"] == "same" else f", by {abs(document['percent']):.1f} ± {document['plus_minus']:.1f} %"
    )
    lines.append(f"verdict: B is {_WORDS[document['verdict']]}{by} (margin {document['margin']:g} %)")
    return [
        (f"{document['headline']}, A compared with B", ["", "A ms", "B ms", "B is slower by", "verdict"], rows)
    ], lines


_WORDS = {"same": "the same as A", "faster": "faster than A", "slower": "slower than A"}


def _history_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    rows = []
    for trend in document["trends"]:
        low, high = min(trend.p50_ms), max(trend.p50_ms)
        span = high - low
        line = "".join(BARS[1 + round(7 * (one - low) / span)] if span else BARS[4] for one in trend.p50_ms[-20:])
        last = f"{trend.last.verdict}, {trend.last.percent:+.1f} ± {trend.last.plus_minus:.1f} %" if trend.last else "–"
        runs = f"{len(trend.p50_ms)}, {sum(trend.valid)} valid"
        rows.append([f"{trend.subject} ({trend.machine})", runs, line, milliseconds(trend.p50_ms[-1]), last])
    return [("history", ["", "runs", "p50", "last ms", "compared with the previous run"], rows)], []


def _estimate_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    rows = [
        [one.variant, milliseconds(one.ms), f"{milliseconds(one.low_ms)} – {milliseconds(one.high_ms)}", one.basis]
        for one in document["predictions"]
    ]
    device = document["predictions"][0].device
    lines = [
        "ESTIMATE: nothing was measured on that device; the span is the error for models that were published for it"
    ]
    return [(f"estimate for {device}, all its cores", ["variant", "p50 ms", "span", "from"], rows)], lines


def _hosts_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    rows, lines = [], []
    for host in document["hosts"]:
        result = host.result
        if result is None:
            rows.append([host.name, "–", "–", "–", "–", "failed"])
            lines.append(f"{host.name}: {host.error}")
            continue
        main, cold = result.main, result.cold_start
        memory = mib(cold.memory_mib) if cold is not None else "–"
        valid = "valid" if result.valid and result.complete else "NOT VALID"
        rows.append([host.name, *(percentile(main.at(p)) for p in PERCENTS), memory, valid])
        parts = (result.host.description, *host.findings, *result.notes, *result.invalid)
        lines += [f"{host.name}: {line}" for line in parts]
    header = ["host", "p50 ms", "p90 ms", "p99 ms", "memory", ""]
    lines += [f"written: {path}" for path in document["written"]]
    return [(document["title"], header, rows)], lines


_PARTS = {
    "run": _run_parts,
    "compare": _compare_parts,
    "history": _history_parts,
    "estimate": _estimate_parts,
    "hosts": _hosts_parts,
}

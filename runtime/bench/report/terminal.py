"""Output of `orilla bench`: tables, a small histogram, and Markdown."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.report.lines import BARS, Table, mib, percentile, result_parts
from orilla.runtime.bench.samples import PERCENTS


def show(document: dict[str, Any]) -> None:
    """Print one document of the command."""
    tables, lines = _PARTS[document["mode"]](document)
    show_tables(tables, lines, as_markdown=bool(document.get("markdown")))


def show_tables(tables: Sequence[Table], lines: Sequence[str], *, as_markdown: bool, text_columns: int = 1) -> None:
    """Print tables and the lines below them.

    Args:
        tables: The tables.
        lines: Lines below the tables.
        as_markdown: True prints Markdown.
        text_columns: Number of text columns, which are left-aligned.
    """
    if as_markdown:
        print(markdown(tables, lines))
        return
    from rich.console import Console
    from rich.table import Table as RichTable

    # Lines in files and pipes are not wrapped, so that reasons and paths can be searched.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 240)
    for title, header, rows in tables:
        table = RichTable(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for index, column in enumerate(header):
            table.add_column(column, justify="left" if index < text_columns else "right", overflow="fold")
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
        parts.append("|" + "|".join("---" if index == 0 else "---:" for index in range(len(header))) + "|")
        parts += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        parts.append("")
    return "\n".join([*parts, *(f"- {line}" for line in lines)]).rstrip()


def _run_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    table, lines = result_parts(document["result"])
    tables = [table]
    if "trends" in document:
        tables += _history_parts(document)[0]
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
        line = "".join(BARS[1 + round(7 * (value - low) / span)] if span else BARS[4] for value in trend.p50_ms[-20:])
        last = f"{trend.last.verdict}, {trend.last.percent:+.1f} ± {trend.last.plus_minus:.1f} %" if trend.last else "–"
        runs = f"{len(trend.p50_ms)}, {sum(trend.valid)} valid"
        rows.append([f"{trend.subject} ({trend.machine})", runs, line, milliseconds(trend.p50_ms[-1]), last])
    return [("history", ["", "runs", "p50", "last ms", "compared with the previous run"], rows)], []


def _estimate_parts(document: dict[str, Any]) -> tuple[list[Table], list[str]]:
    rows = [
        [
            prediction.variant,
            milliseconds(prediction.ms),
            f"{milliseconds(prediction.low_ms)} – {milliseconds(prediction.high_ms)}",
            prediction.basis,
        ]
        for prediction in document["predictions"]
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

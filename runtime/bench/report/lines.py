"""Build the tables and text lines that show a result in the terminal and on the HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.result import Result, describe
from orilla.runtime.bench.samples import PERCENTS, Percentile, Summary, mlperf_samples
from orilla.runtime.bench.soak import BURST_S

if TYPE_CHECKING:
    from orilla.runtime.bench.budgets.limits import LimitResult

BARS = " ▁▂▃▄▅▆▇█"

Table = tuple[str, list[str], list[list[str]]]
"""Title, header row and rows of a table. The first column contains names."""

HEADER = ["ms", "p50 (95 %)", "p90 (95 %)", "p99 (95 %)", "max", "samples"]

BUDGET_HEADER = ["budget", "measured", "allowed", ""]


def percentile(value: Percentile | None) -> str:
    """Format a percentile as `4.10 (4.05–4.14)`.

    A bound that cannot be computed is shown as a question mark, and a percentile with too few samples as a dash.
    """
    if value is None:
        return "–"
    low, high = ("?" if bound is None else milliseconds(bound) for bound in (value.low_ms, value.high_ms))
    return f"{milliseconds(value.ms)} ({low}–{high})"


def mib(size: float | None) -> str:
    """Format a size in MiB. None is formatted as `unknown`."""
    return "unknown" if size is None else f"{size:.0f} MiB"


def summary_row(name: str, summary: Summary) -> list[str]:
    """Return the row of one stage in a table whose header is `HEADER`."""
    cells = [percentile(summary.at(percent)) for percent in PERCENTS]
    return [name, *cells, milliseconds(summary.max_ms), f"{summary.count}"]


def budget_row(verdict: LimitResult) -> list[str]:
    """Return the row of one limit in a table whose header is `BUDGET_HEADER`."""
    word = verdict.status if verdict.passed else verdict.status.upper()
    return [f"{verdict.variant} {verdict.limit}", verdict.figure, verdict.allowed, word]


def histogram(times: Sequence[float], width: int = 48) -> str:
    """Draw a histogram as one line of text, from the smallest time to p99. The last bar includes all slower times.

    Args:
        times: The times in milliseconds.
        width: Number of bars.
    """
    values = np.asarray(times)
    low, high = float(values.min()), float(np.percentile(values, 99))
    if high <= low:
        return ""
    counts, _ = np.histogram(np.minimum(values, high), bins=width, range=(low, high))
    bars = "".join(BARS[int(np.ceil(8 * count / counts.max()))] for count in counts)
    return f"{milliseconds(low)} {bars} {milliseconds(high)} ms"


def result_parts(result: Result) -> tuple[Table, list[str]]:
    """Return a table with the stages of a result, and text lines with its other figures."""
    rows = [summary_row(stage, summary) for stage, summary in result.summary.items()]
    lines = [*_sample_lines(result), *_run_lines(result), *_machine_lines(result)]
    if result.drops:
        lines.append("dropped " + ", ".join(f"{count} {reason}" for reason, count in result.drops.items()))
    lines += [*_accuracy_lines(result), *_soak_lines(result)]
    if result.subject.scenario == "single-stream" and not result.meets_mlperf:
        lines.append(
            f"MLPerf's single-stream scenario requires 1024 queries and 60 s; p90 within 0.5 % needs "
            f"{mlperf_samples(90)} samples"
        )
    lines += result.notes
    return (f"{describe(result.subject)}\n{result.host.description}", HEADER, rows), lines


def _sample_lines(result: Result) -> list[str]:
    main, lines = result.main, []
    if bars := histogram(result.undisturbed(result.headline)):
        lines.append(f"{result.headline}  {bars}")
    lines += [f"{name} is omitted: it needs at least {needed} samples" for name, needed in main.withheld().items()]
    if (median := main.at(50)) is not None and median.independent < main.count / 2:
        lines.append(f"consecutive times are correlated: the effective sample size of p50 is {median.independent}")
    return lines


def _run_lines(result: Result) -> list[str]:
    lines = [
        f"{result.per_second:.1f} frames per second over {result.seconds:.1f} s; processor time {result.cpu_ms:.2f} ms "
        f"per frame; peak memory of the process {mib(result.peak_mib)}"
    ]
    if result.cold_start is not None:
        lines.append(
            f"cold start in a separate process: {result.cold_start.start_ms:.0f} ms to the first output, memory "
            f"{mib(result.cold_start.memory_mib)}"
        )
    warm_up = result.warm_up
    lines.append(
        f"warm-up: {warm_up.count} inferences in {warm_up.seconds:.1f} s, the first in "
        f"{milliseconds(warm_up.first_ms)} ms, {'steady' if warm_up.steady else 'not steady'}"
    )
    return lines


def _machine_lines(result: Result) -> list[str]:
    degrees = [second.temperature_c for second in result.timeline if second.temperature_c is not None]
    clock = [second.mhz for second in result.timeline if second.mhz is not None]
    parts = []
    if degrees:
        parts.append(f"temperature {degrees[0]:.0f} to {degrees[-1]:.0f} °C, at most {max(degrees):.0f}")
    if clock:
        parts.append(f"clock {min(clock):.0f} to {max(clock):.0f} MHz")
    if result.joules is not None:
        frames = result.per_second * result.seconds
        parts.append(f"{1e3 * result.joules / frames:.2f} mJ per frame ({result.energy_source})")
    sensors = (("temperature", bool(degrees)), ("energy", result.joules is not None))
    if missing := [name for name, present in sensors if not present]:
        parts.append(f"no sensor for {' or '.join(missing)}")
    return ["; ".join(parts)] if parts else []


def _accuracy_lines(result: Result) -> list[str]:
    accuracy = result.accuracy
    if accuracy is None:
        return []
    low, high = accuracy.interval
    line = (
        f"{accuracy.metric} {accuracy.value:.4f} ({low:.4f}–{high:.4f}) on {accuracy.count} samples of "
        f"{accuracy.data} {accuracy.split}"
    )
    if accuracy.drop is not None:
        side = "below" if accuracy.drop > 0 else "above"
        line += f", {abs(accuracy.drop):.2f} points {side} the original model"
    return [line]


def _soak_lines(result: Result) -> list[str]:
    soak = result.soak
    if soak is None:
        return []
    if result.seconds < 2 * BURST_S:
        return [f"soak: {result.seconds:.0f} s is too short to compare with the burst in the first {BURST_S:g} s"]
    settled = f"steady after {soak.steady_after_s:.0f} s" if soak.steady_after_s is not None else "not steady"
    return [
        f"soak: {settled}, judged by {soak.judged_by}; sustained p50 {percentile(soak.sustained.at(50))}, burst "
        f"{percentile(soak.burst.at(50))}: {100 * (soak.slowdown - 1):+.1f} %"
    ]

"""The results of the subcommands of `orilla bench`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from orilla.runtime.bench.estimate import Prediction
from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.remote.job import INTERRUPTED, NOT_VALID, HostReport
from orilla.runtime.bench.report.history import Trend
from orilla.runtime.bench.report.lines import BARS, Table, mib, percentile, result_parts
from orilla.runtime.bench.result import Result
from orilla.runtime.bench.samples import PERCENTS
from orilla.runtime.bench.verdict import Verdict
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.commands.tables import print_tables

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole

MAX_RUNS = 20
"""Maximum number of runs in the plot of a trend."""

WORDS = {"same": "as fast as A", "faster": "faster than A", "slower": "slower than A"}


@dataclass(frozen=True, slots=True)
class BenchResult(CommandResult):
    """Base class of the results. A result is printed as tables and lines, in plain text or in Markdown."""

    hidden: ClassVar[tuple[str, ...]] = ("as_markdown",)

    as_markdown: bool

    def render(self, console: ResultConsole) -> None:
        """Print tables and lines."""
        tables, lines = self.parts()
        for warning in self.warnings():
            console.print_line(f"NOT VALID: {warning}")
        print_tables(console, tables, lines, as_markdown=self.as_markdown)

    def warnings(self) -> Sequence[str]:
        """Return the reasons why the result is not valid. They are printed first."""
        return ()

    @abstractmethod
    def parts(self) -> tuple[list[Table], list[str]]:
        """Return the tables, and the lines below them."""


@dataclass(frozen=True, slots=True)
class RunResult(BenchResult):
    """A measurement on this machine."""

    constants: ClassVar[Mapping[str, str]] = {"mode": "run"}
    optional = ("history", "trends", "report")

    result: Result
    out: str | None
    history: str | None = None
    """Path of the file that `--history` added. None without `--history`."""
    trends: list[Trend] | None = None
    report: str | None = None

    @property
    def exit_code(self) -> int:
        """Return 0, `INTERRUPTED` if the measurement was interrupted, or `NOT_VALID` if it was disturbed."""
        if not self.result.complete:
            return INTERRUPTED
        return 0 if self.result.valid else NOT_VALID

    def warnings(self) -> Sequence[str]:
        """Return the disturbances of the measurement."""
        return self.result.invalid

    def parts(self) -> tuple[list[Table], list[str]]:
        """Return tables of the stages and trends, and lines with notes and the paths of the written files."""
        table, lines = result_parts(self.result)
        tables = [table, *([_history_table(self.trends)] if self.trends is not None else [])]
        return tables, [*lines, *(f"written: {path}" for path in (self.out, self.history, self.report) if path)]


@dataclass(frozen=True, slots=True)
class HostsResult(BenchResult):
    """Measurements on other machines."""

    constants: ClassVar[Mapping[str, str]] = {"mode": "hosts"}
    hidden = ("as_markdown", "interrupted")

    title: str
    hosts: list[HostReport]
    written: list[str]
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """Return `INTERRUPTED` after an interruption, 1 if a result is missing, `NOT_VALID` if one was disturbed."""
        if self.interrupted:
            return INTERRUPTED
        if any(report.result is None for report in self.hosts):
            return 1
        return NOT_VALID if self.warnings() else 0

    def warnings(self) -> Sequence[str]:
        """Return the disturbances on each machine."""
        return [f"{host.name}: {reason}" for host in self.hosts if host.result for reason in host.result.invalid]

    def parts(self) -> tuple[list[Table], list[str]]:
        """Return a table with a row for each machine, and notes."""
        rows, lines = [], []
        for host in self.hosts:
            result = host.result
            if result is None:
                rows.append([host.name, "–", "–", "–", "–", "failed"])
                lines.append(f"{host.name}: {host.error}")
                continue
            main, cold_start = result.main, result.cold_start
            memory = mib(cold_start.memory_mib) if cold_start is not None else "–"
            valid = "valid" if result.valid and result.complete else "NOT VALID"
            rows.append([host.name, *(percentile(main.at(p)) for p in PERCENTS), memory, valid])
            notes = (result.host.description, *host.findings, *result.notes)
            lines += [f"{host.name}: {note}" for note in notes]
        header = ["host", "p50 ms", "p90 ms", "p99 ms", "memory", ""]
        return [(self.title, header, rows)], [*lines, *(f"written: {path}" for path in self.written)]


@dataclass(frozen=True, slots=True)
class CompareResult(BenchResult):
    """A comparison of two results."""

    constants: ClassVar[Mapping[str, str]] = {"mode": "compare"}
    inlined = "comparison"

    comparison: Verdict

    @property
    def exit_code(self) -> int:
        """Return `NOT_VALID` if A or B is not valid, 1 if B is slower, else 0."""
        if self.comparison.invalid:
            return NOT_VALID
        return 1 if self.comparison.verdict == "slower" else 0

    def warnings(self) -> Sequence[str]:
        """Return the reasons why the results A and B are not valid."""
        return self.comparison.invalid

    def parts(self) -> tuple[list[Table], list[str]]:
        """Return a table with a row for each percentile, and the verdict."""
        verdict = self.comparison
        rows = [
            [
                change.percentile,
                milliseconds(change.a_ms),
                milliseconds(change.b_ms),
                f"{abs(change.percent):.1f} ± {change.plus_minus:.1f} % {'slower' if change.percent > 0 else 'faster'}",
                change.verdict,
            ]
            for change in verdict.changes
        ]
        lines = [f"A: {verdict.a}", f"B: {verdict.b}"]
        if verdict.memory_mib:
            a, b = verdict.memory_mib
            lines.append(f"memory {a:.1f} MiB in A, {b:.1f} in B")
        by = "" if verdict.verdict == "same" else f", by {abs(verdict.percent):.1f} ± {verdict.plus_minus:.1f} %"
        doubt = "; do not rely on it, because a run is not valid" if verdict.invalid else ""
        last = f"verdict: B is {WORDS[verdict.verdict]}{by} (margin {verdict.margin:g} %){doubt}"
        header = ["", "A ms", "B ms", "B is", "verdict"]
        return [(f"{verdict.headline}, B compared with A", header, rows)], [*lines, *verdict.notes, last]


@dataclass(frozen=True, slots=True)
class HistoryResult(BenchResult):
    """The trends in a folder of results."""

    constants: ClassVar[Mapping[str, str]] = {"mode": "history"}

    folder: str
    trends: list[Trend]

    def parts(self) -> tuple[list[Table], list[str]]:
        """Return a table with a row for each trend."""
        return [_history_table(self.trends)], []


def _history_table(trends: list[Trend]) -> Table:
    rows = []
    for trend in trends:
        low, high = min(trend.p50_ms), max(trend.p50_ms)
        span = high - low
        times = trend.p50_ms[-MAX_RUNS:]
        line = "".join(BARS[1 + round(7 * (value - low) / span)] if span else BARS[4] for value in times)
        last = f"{trend.last.verdict}, {trend.last.percent:+.1f} ± {trend.last.plus_minus:.1f} %" if trend.last else "–"
        runs = f"{len(trend.p50_ms)}, {sum(trend.valid)} valid"
        rows.append([f"{trend.subject} ({trend.machine})", runs, line, milliseconds(trend.p50_ms[-1]), last])
    return "history", ["", "runs", "p50", "last ms", "compared with the previous run"], rows


@dataclass(frozen=True, slots=True)
class EstimateResult(BenchResult):
    """Estimated times of a bundle on another device."""

    constants: ClassVar[Mapping[str, str]] = {"mode": "estimate"}

    predictions: list[Prediction]

    def parts(self) -> tuple[list[Table], list[str]]:
        """Return a table with a row for each variant, and a note."""
        rows = [
            [
                prediction.variant,
                milliseconds(prediction.ms),
                f"{milliseconds(prediction.low_ms)} – {milliseconds(prediction.high_ms)}",
                prediction.basis,
            ]
            for prediction in self.predictions
        ]
        title = f"estimate for {self.predictions[0].device}, using all its cores"
        note = (
            "ESTIMATE: nothing was measured on that device; the span is the estimate divided and multiplied by "
            "the largest error found for models with published figures"
        )
        return [(title, ["variant", "p50 ms", "span", "from"], rows)], [note]

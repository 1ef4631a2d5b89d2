"""The command `orilla report`: write a page of benchmark results."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.files import check_writable

if TYPE_CHECKING:
    from orilla.runtime.bench.budgets.limits import LimitResult
    from orilla.runtime.terminal.console import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        help="files written by orilla bench run --out, or folders of such files; they may come from several machines",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("report.html"), help="HTML page to write (default: report.html)"
    )
    parser.add_argument(
        "--budget", type=Path, metavar="F.toml", help="compare the results with the budgets in this file"
    )


@dataclass(frozen=True, slots=True)
class ReportResult(CommandResult):
    """The page that was written."""

    page: str
    results: int
    """Number of results on the page."""
    budgets: list[LimitResult]
    """Limits of the budgets and the figures that were compared with them."""

    @property
    def exit_code(self) -> int:
        """Return 1 if a budget is exceeded, else 0."""
        return 0 if all(limit.passed for limit in self.budgets) else 1

    def render(self, console: ResultConsole) -> None:
        """Print the exceeded budgets and the path of the page."""
        for limit in self.budgets:
            if limit.reason is not None:
                console.print_line(f"FAIL {limit.reason}")
        console.print_line(f"{self.page}: {self.results} result{'s' if self.results != 1 else ''}")


def execute(arguments: argparse.Namespace) -> ReportResult:
    """Write the page, and compare the results with the budgets."""
    from orilla.devices.budget import read_budgets
    from orilla.runtime.bench.budgets.from_results import judge_result
    from orilla.runtime.bench.report.report import check_plots, page
    from orilla.runtime.bench.result import read_all

    if arguments.out.suffix not in (".html", ".htm"):
        msg = f"--out {arguments.out}: give a file NAME.html"
        raise ConfigError(msg)
    check_plots()
    check_writable(arguments.out)
    budgets = read_budgets(arguments.budget) if arguments.budget is not None else []
    results = [result for path in arguments.results for result in read_all(path)]
    limits = [limit for budget in budgets for result in results for limit in judge_result(budget, result, results)]
    if budgets and not limits:
        msg = f"{arguments.budget}: none of its limits applies to these results"
        raise ConfigError(msg)
    page(results, arguments.out, limits)
    return ReportResult(str(arguments.out), len(results), limits)

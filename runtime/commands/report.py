"""The command `orilla report`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError
from orilla.runtime.files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "results", nargs="+", type=Path, help="files of orilla bench run --out, or folders of them, from any machines"
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), help="page to write (default: report.html)")
    parser.add_argument("--budget", type=Path, metavar="F.toml", help="compare the results with the budgets of a file")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Write the page. The exit code is 1 if a budget is exceeded."""
    from orilla.devices.budget import read_budgets
    from orilla.runtime.bench.budgets.from_results import judge_result
    from orilla.runtime.bench.report.report import check_plots, page
    from orilla.runtime.bench.result import read_all

    if arguments.out.suffix not in (".html", ".htm"):
        msg = f"--out {arguments.out}: a page is NAME.html"
        raise ConfigError(msg)
    check_plots()
    check_writable(arguments.out)
    budgets = read_budgets(arguments.budget) if arguments.budget is not None else []
    results = [result for path in arguments.results for result in read_all(path)]
    judged = [one for budget in budgets for result in results for one in judge_result(budget, result, results)]
    if budgets and not judged:
        msg = f"{arguments.budget} sets no limit that these results have figures for"
        raise ConfigError(msg)
    page(results, arguments.out, judged)
    passed = all(one.passed for one in judged)
    return 0 if passed else 1, {"page": str(arguments.out), "results": len(results), "budgets": judged}


def show(document: dict[str, Any]) -> None:
    """Print the path of the page and the exceeded budgets."""
    for one in document["budgets"]:
        if one.reason is not None:
            print(f"FAIL {one.reason}")
    count = document["results"]
    print(f"{document['page']}: {count} result{'s' if count != 1 else ''}")

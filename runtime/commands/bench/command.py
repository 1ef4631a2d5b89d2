"""The command `orilla bench`: `run`, `compare`, `history` and `estimate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.commands.bench import run as run_mode

if TYPE_CHECKING:
    from orilla.runtime.commands.bench.results import BenchResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands and their options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="run|compare|history|estimate")
    run = actions.add_parser("run", help="measure a bundle on this machine, or on other machines over ssh")
    run_mode.add_arguments(run)
    compare = actions.add_parser("compare", help="compare two results; the exit code is 1 if B is slower")
    compare.add_argument(
        "a", type=Path, metavar="A", help="file written by orilla bench run --out, or a folder of such files"
    )
    compare.add_argument("b", type=Path, metavar="B", help="file or folder to compare with A")
    compare.add_argument(
        "--margin", type=float, help="largest difference in per cent that is treated as no change (default: 3)"
    )
    history = actions.add_parser("history", help="show how the times in a folder of results changed from run to run")
    history.add_argument(
        "folder", type=Path, metavar="DIR", help="folder to which orilla bench run --history adds results"
    )
    estimate = actions.add_parser(
        "estimate", help="estimate the inference time on another device from published latencies"
    )
    estimate.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    estimate.add_argument("--device", required=True, help="name of a device, as orilla devices lists it")
    estimate.add_argument("--variant", help="name of a variant (default: all LiteRT variants)")
    for action in (run, compare, history, estimate):
        action.add_argument("--markdown", action="store_true", help="print tables as Markdown, for a pull request")
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document")


def execute(arguments: argparse.Namespace) -> BenchResult:
    """Run the subcommand and return its result."""
    return _ACTIONS[arguments.action](arguments)


def _compare(arguments: argparse.Namespace) -> BenchResult:
    from orilla.runtime.bench.result import read_all
    from orilla.runtime.bench.verdict import MARGIN, compare
    from orilla.runtime.commands.bench.results import CompareResult

    margin = MARGIN if arguments.margin is None else arguments.margin
    if not 0 <= margin <= 100:
        msg = f"--margin {margin:g}: must be 0 to 100 per cent"
        raise ConfigError(msg)
    verdict = compare(read_all(arguments.a), read_all(arguments.b), margin=margin)
    return CompareResult(arguments.markdown, verdict)


def _history(arguments: argparse.Namespace) -> BenchResult:
    from orilla.runtime.bench.report.history import trends
    from orilla.runtime.commands.bench.results import HistoryResult

    return HistoryResult(arguments.markdown, str(arguments.folder), trends(arguments.folder))


def _estimate(arguments: argparse.Namespace) -> BenchResult:
    from orilla.runtime.bench.estimate import predict
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.commands.bench.results import EstimateResult

    predictions = predict(Bundle.open(arguments.bundle), arguments.device, arguments.variant)
    return EstimateResult(arguments.markdown, predictions)


_ACTIONS = {"run": run_mode.execute, "compare": _compare, "history": _history, "estimate": _estimate}

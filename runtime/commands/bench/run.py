"""The subcommand `orilla bench run`: measure on this machine or on other machines, and write the results."""

from __future__ import annotations

import argparse
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.errors import ConfigError
from orilla.runtime.files import check_writable

if TYPE_CHECKING:
    from orilla.runtime.bench.remote.job import HostReport
    from orilla.runtime.bench.result import Result
    from orilla.runtime.bench.runner import Plan
    from orilla.runtime.commands.bench.results import BenchResult, HostsResult, RunResult
    from orilla.runtime.model import Model

MIN_S, MAX_S = 0.5, 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `orilla bench run`."""
    parser.add_argument("bundle", help="path of a bundle, or the name of a shipped one")
    parser.add_argument(
        "--scenario",
        default="single-stream",
        help="load pattern: single-stream, multi-stream or offline, as in MLPerf, with prepared inputs; or loop, which "
        "runs the camera loop (default: single-stream)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="duration in seconds (default: 10); with --soak, the longest duration (default: 1800)",
    )
    parser.add_argument(
        "--variant", help="name of a variant (default: the one that orilla tune chose, else the bundle's default)"
    )
    parser.add_argument("--engine", help="engine, as listed by orilla devices (default: the variant's)")
    parser.add_argument("--threads", type=int, help="inference threads (default: all cores except one, at most four)")
    parser.add_argument("--streams", type=int, help="number of frames in a multi-stream query (default: 8)")
    parser.add_argument("--source", help="source of the loop (default: the golden frames, 30 per second)")
    parser.add_argument("--policy", help="policy of the loop: latest, every, rate:HZ or deadline:MS")
    parser.add_argument("--soak", action="store_true", help="measure until the temperature is steady")
    parser.add_argument(
        "--data", help="also measure the accuracy on this data set (same values as for orilla train --data)"
    )
    parser.add_argument("--out", type=Path, metavar="F.json", help="file to write the result to")
    parser.add_argument(
        "--history",
        type=Path,
        metavar="DIR",
        help="folder to add the result to; also print the trend of all results in the folder",
    )
    parser.add_argument("--report", type=Path, metavar="F.html", help="HTML page to write")
    parser.add_argument(
        "--host",
        action="append",
        metavar="ssh://USER@HOST",
        help="measure on HOST over ssh instead of on this machine; may be repeated",
    )
    parser.add_argument(
        "--wheels", type=Path, metavar="DIR", help="folder with the wheels to install on hosts without internet access"
    )


def execute(arguments: argparse.Namespace) -> BenchResult:
    """Measure on this machine, or on the hosts given with `--host`."""
    _check_run(arguments)
    return _run_remotely(arguments) if arguments.host else _run_here(arguments)


def _check_run(arguments: argparse.Namespace) -> None:
    """Fill in defaults. Raise an error if options are invalid or cannot be combined, before anything is loaded."""
    from orilla.devices.errors import unknown_name
    from orilla.runtime.bench.result import HEADLINE
    from orilla.runtime.bench.soak import MAX_S as SOAK_S

    if arguments.scenario not in HEADLINE:
        raise unknown_name(arguments.scenario, HEADLINE, kind="scenario")
    if arguments.seconds is None:
        arguments.seconds = SOAK_S if arguments.soak else 10.0
    if not (math.isfinite(arguments.seconds) and MIN_S <= arguments.seconds <= MAX_S):
        msg = f"--seconds {arguments.seconds:g}: must be {MIN_S:g} to {MAX_S:g}"
        raise ConfigError(msg)
    _check_scenario(arguments)
    if arguments.wheels is not None and not arguments.host:
        msg = "--wheels needs --host ssh://HOST"
        raise ConfigError(msg)
    if arguments.data is not None and arguments.host:
        msg = (
            "--data cannot be used with --host; to measure accuracy on another machine, run orilla verify --data there"
        )
        raise ConfigError(msg)
    if arguments.threads is None and arguments.scenario in ("multi-stream", "offline"):
        arguments.threads = 1  # The scenarios `multi-stream` and `offline` run one session on each core.
    _check_outputs(arguments)


def _check_scenario(arguments: argparse.Namespace) -> None:
    if arguments.streams is not None and arguments.scenario != "multi-stream":
        msg = "--streams needs --scenario multi-stream"
        raise ConfigError(msg)
    if arguments.streams is not None and not 1 <= arguments.streams <= 1000:
        msg = f"--streams {arguments.streams}: must be 1 to 1000"
        raise ConfigError(msg)
    if (arguments.source or arguments.policy) and arguments.scenario != "loop":
        msg = "--source and --policy need --scenario loop"
        raise ConfigError(msg)


def _check_outputs(arguments: argparse.Namespace) -> None:
    if arguments.history is not None:
        from orilla.runtime.bench.result import read_all
        from orilla.runtime.files import make_folder

        make_folder(arguments.history)
        if any(arguments.history.glob("*.json")):
            read_all(arguments.history)
    for path in (arguments.out, arguments.report):
        if path is not None:
            check_writable(path)
    if arguments.report is not None:
        from orilla.runtime.bench.report.report import check_plots

        if arguments.report.suffix not in (".html", ".htm"):
            msg = f"--report {arguments.report}: give a file NAME.html"
            raise ConfigError(msg)
        check_plots()


def _run_here(arguments: argparse.Namespace) -> RunResult:
    from orilla.runtime.bench import result as results
    from orilla.runtime.bench.runner import Plan
    from orilla.runtime.bench.scenario import STREAMS
    from orilla.runtime.commands.bench.results import RunResult
    from orilla.runtime.evaluation.accuracy import open_labelled
    from orilla.runtime.model import Model

    options = {"variant": arguments.variant, "engine": arguments.engine, "threads": arguments.threads}
    with Model.open(arguments.bundle, **options) as model:
        dataset = open_labelled(arguments.data, model.bundle.manifest) if arguments.data is not None else None
        plan = Plan(
            arguments.scenario,
            arguments.seconds,
            arguments.streams or STREAMS,
            arguments.source,
            arguments.policy,
            arguments.soak,
            dataset,
        )
        result = _measured(model, plan)
    if arguments.out is not None:
        results.write(arguments.out, result)
    history = records = None
    if arguments.history is not None:
        from orilla.runtime.bench.report.history import trends

        history = str(results.keep(arguments.history, result))
        records = trends(arguments.history)
    if arguments.report is not None:
        _write_page([result], arguments.report)
    return RunResult(
        as_markdown=arguments.markdown,
        result=result,
        out=_text(arguments.out),
        history=history,
        trends=records,
        report=_text(arguments.report),
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def _measured(model: Model, plan: Plan) -> Result:
    """Measure, and show the progress on standard error."""
    from orilla.runtime.bench.runner import run
    from orilla.runtime.terminal.progress import TerminalProgress

    with TerminalProgress(animated=False) as progress:
        try:
            return run(model, plan, progress)
        except KeyboardInterrupt:
            progress.message("orilla: interrupted before the first sample, so there is no result")
            raise


def _run_remotely(arguments: argparse.Namespace) -> HostsResult:
    from orilla.runtime.bench.remote.fleet import RemotePlan, bench_on
    from orilla.runtime.commands.bench.results import HostsResult
    from orilla.runtime.terminal.progress import TerminalProgress

    plan = RemotePlan(
        tuple(arguments.host),
        arguments.bundle,
        arguments.scenario,
        arguments.seconds,
        arguments.variant,
        arguments.engine,
        arguments.threads,
        arguments.streams,
        arguments.source,
        arguments.policy,
        arguments.soak,
        arguments.wheels,
    )
    reports, interrupted = bench_on(plan, TerminalProgress())
    return HostsResult(
        as_markdown=arguments.markdown,
        title=f"{Path(arguments.bundle).stem}, {arguments.scenario}",
        hosts=reports,
        written=_keep(reports, arguments),
        interrupted=interrupted,
    )


def _keep(reports: list[HostReport], arguments: argparse.Namespace) -> list[str]:
    """Write the results of the other machines and the page. Return the paths of the written files."""
    from orilla.runtime.bench import result as results

    written = []
    returned = [(report, report.result) for report in reports if report.result is not None]
    for report, result in returned:
        if arguments.out is not None:
            path = arguments.out
            if len(reports) > 1:
                path = path.with_name(f"{path.stem}-{re.sub(r'[^A-Za-z0-9.-]+', '-', report.name)}{path.suffix}")
            results.write(path, result)
            written.append(str(path))
        if arguments.history is not None:
            written.append(str(results.keep(arguments.history, result)))
    if arguments.report is not None and returned:
        _write_page([result for _, result in returned], arguments.report)
        written.append(str(arguments.report))
    return written


def _write_page(results: list[Result], path: Path) -> None:
    from orilla.runtime.bench.report.report import page

    page(results, path)

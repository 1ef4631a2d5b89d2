"""The command `orilla bench`."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError
from orilla.runtime.files import check_writable

MIN_S, MAX_S = 0.5, 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("bundle", nargs="?", help="a bundle's path, or the name of one that ships with Orilla")
    parser.add_argument(
        "--scenario",
        help="single-stream, multi-stream, offline (inputs prepared before, as in MLPerf), or loop, the camera loop "
        "(default: single-stream)",
    )
    parser.add_argument("--seconds", type=float, help="how long (default: 10; 1800 at most with --soak)")
    parser.add_argument("--variant", help="a variant's name (default: what orilla tune chose, else the bundle's)")
    parser.add_argument("--engine", help="on this engine, as orilla devices lists them")
    parser.add_argument("--threads", type=int, help="for inference (default: all cores but one, four at most)")
    parser.add_argument("--streams", type=int, help="frames of a multi-stream query (default: 8)")
    parser.add_argument("--source", help="of the loop (default: the golden frames, 30 a second)")
    parser.add_argument(
        "--policy", help="of the loop: latest, every, rate:HZ or deadline:MS (default: as in orilla run)"
    )
    parser.add_argument("--soak", action="store_true", help="until the machine's temperature is steady")
    parser.add_argument("--data", help="also measure accuracy on a data set, as orilla train takes it")
    parser.add_argument("--out", type=Path, metavar="F.json", help="write the result there")
    parser.add_argument("--history", type=Path, metavar="DIR", help="add the result to a history, and show its trend")
    parser.add_argument("--report", type=Path, metavar="F.html", help="also write a page")
    parser.add_argument("--markdown", action="store_true", help="print tables that a comment on a change can hold")
    parser.add_argument(
        "--compare",
        nargs=2,
        type=Path,
        metavar=("A", "B"),
        help="do not measure: say whether result B is as fast as A (files, or folders of runs); exit code 1 if slower",
    )
    parser.add_argument("--margin", type=float, help="per cent of difference that does not matter (default: 3)")
    parser.add_argument(
        "--host", action="append", metavar="ssh://USER@HOST", help="measure there, by ssh; may be given several times"
    )
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="wheels for machines that have no network (--host)")
    parser.add_argument("--predict", metavar="DEVICE", help="do not measure: estimate for a device of orilla devices")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Measures, compares, predicts, or has other machines measure."""
    modes = [name for name in ("compare", "host", "predict") if getattr(arguments, name)]
    if len(modes) > 1:
        msg = f"--{modes[0]} and --{modes[1]} are two different things: give one"
        raise ConfigError(msg)
    if arguments.compare:
        _refuse_others(arguments, "--compare", {"compare", "margin"})
        return _compare(arguments)
    if arguments.bundle is None and arguments.history is not None:
        from orilla.runtime.bench.report.history import trends

        _refuse_others(arguments, "--history without a bundle", {"history"})
        found = trends(arguments.history)
        return 0, {
            "mode": "history",
            "folder": str(arguments.history),
            "trends": found,
            "markdown": arguments.markdown,
        }
    if arguments.bundle is None:
        msg = "which bundle? orilla bench BUNDLE, or --compare A B, or --history DIR"
        raise ConfigError(msg)
    if arguments.predict:
        from orilla.runtime.bench.estimate import predict
        from orilla.runtime.bundle.bundle import Bundle

        _refuse_others(arguments, "--predict", {"bundle", "predict", "variant"})
        found_for = predict(Bundle.open(arguments.bundle), arguments.predict, arguments.variant)
        return 0, {"mode": "predict", "predictions": found_for, "markdown": arguments.markdown}
    check_plan(arguments)
    if arguments.host:
        from orilla.runtime.bench.remote.fleet import bench_on

        return bench_on(arguments)
    return _measure(arguments)


def _refuse_others(arguments: argparse.Namespace, mode: str, read: set[str]) -> None:
    """Refuses options that a mode does not read."""
    for name, value in vars(arguments).items():
        if value not in (None, False) and name not in {*read, "json", "markdown"}:
            told = "a bundle" if name == "bundle" else f"--{name}"
            msg = f"{told} has nothing to do with {mode}: leave it out"
            raise ConfigError(msg)


def check_plan(arguments: argparse.Namespace) -> None:
    """Refuses what can't be measured, before anything is loaded; fills in defaults."""
    from orilla.devices.errors import unknown_name
    from orilla.runtime.bench.result import HEADLINE
    from orilla.runtime.bench.soak import MAX_S as SOAK_S

    arguments.scenario = arguments.scenario or "single-stream"
    if arguments.scenario not in HEADLINE:
        msg = "scenario"
        raise unknown_name(msg, arguments.scenario, HEADLINE)
    if arguments.seconds is None:
        arguments.seconds = SOAK_S if arguments.soak else 10.0
    if not (math.isfinite(arguments.seconds) and MIN_S <= arguments.seconds <= MAX_S):
        msg = f"--seconds {arguments.seconds:g}: must be {MIN_S:g} to {MAX_S:g}"
        raise ConfigError(msg)
    if arguments.streams is not None and arguments.scenario != "multi-stream":
        msg = "--streams is for --scenario multi-stream"
        raise ConfigError(msg)
    if arguments.streams is not None and not 1 <= arguments.streams <= 1000:
        msg = f"--streams {arguments.streams}: must be 1 to 1000"
        raise ConfigError(msg)
    if (arguments.source or arguments.policy) and arguments.scenario != "loop":
        msg = "--source and --policy are for --scenario loop"
        raise ConfigError(msg)
    if arguments.margin is not None:
        msg = "--margin is for --compare A B"
        raise ConfigError(msg)
    if arguments.wheels is not None and not arguments.host:
        msg = "--wheels is for --host ssh://HOST"
        raise ConfigError(msg)
    if arguments.threads is None and arguments.scenario in ("multi-stream", "offline"):
        arguments.threads = 1  # as many sessions as there are cores
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
            msg = f"--report {arguments.report}: a page is NAME.html"
            raise ConfigError(msg)
        check_plots()


def _compare(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    from orilla.runtime.bench.result import read_all
    from orilla.runtime.bench.verdict import MARGIN, compare

    margin = MARGIN if arguments.margin is None else arguments.margin
    if not 0 <= margin <= 100:
        msg = f"--margin {margin:g}: must be 0 to 100 per cent"
        raise ConfigError(msg)
    a, b = (read_all(path) for path in arguments.compare)
    verdict = compare(a, b, margin=margin)
    import msgspec

    document: dict[str, object] = {"mode": "compare", **msgspec.structs.asdict(verdict)}
    document["markdown"] = arguments.markdown
    return 1 if verdict.verdict == "slower" else 0, document


def _measure(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from orilla.runtime.bench import result as results
    from orilla.runtime.bench.runner import Plan, run
    from orilla.runtime.bench.scenario import STREAMS
    from orilla.runtime.cli import INTERRUPTED
    from orilla.runtime.evaluation.accuracy import open_labelled
    from orilla.runtime.model import Model

    with Model.open(
        arguments.bundle, variant=arguments.variant, engine=arguments.engine, threads=arguments.threads
    ) as model:
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
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        with Progress(
            *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
        ) as progress:
            task = progress.add_task(arguments.scenario, total=1.0)

            def tell(text: str, share: float) -> None:
                # SampleSet between inferences: a thread that draws would be in their tail.
                progress.update(task, description=text, completed=min(1.0, share), refresh=True)

            try:
                result = run(model, plan, tell)
            except KeyboardInterrupt:
                console.print("orilla: interrupted before the first sample: nothing is kept", markup=False)
                raise
    if arguments.out is not None:
        results.write(arguments.out, result)
    document: dict[str, object] = {"mode": "run", "result": result, "out": arguments.out and str(arguments.out)}
    if arguments.history is not None:
        from orilla.runtime.bench.report.history import trends

        document["history"] = str(results.keep(arguments.history, result))
        document["trends"] = trends(arguments.history)
    if arguments.report is not None:
        from orilla.runtime.bench.report.report import page

        page([result], arguments.report)
        document["report"] = str(arguments.report)
    document["markdown"] = arguments.markdown
    return 0 if result.complete else INTERRUPTED, document


def show(document: dict[str, Any]) -> None:
    """Prints what was measured, compared or predicted."""
    from orilla.runtime.bench.report import terminal

    terminal.show(document)

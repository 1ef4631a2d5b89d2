"""The command `orilla run`: the camera loop, from a source to sinks."""

from __future__ import annotations

import argparse
import time
from contextlib import closing

from orilla.devices.errors import ConfigError
from orilla.runtime.model import Model
from orilla.runtime.pipeline import BUFFERS
from orilla.runtime.sinks.sink import Sink, sink_opener
from orilla.runtime.sources.source import Source, open_source


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("bundle", help="a bundle's path, or the name of one that ships with Orilla: road")
    parser.add_argument(
        "--source",
        required=True,
        help="a camera's number or /dev/video*, a video file, a picture or a folder of pictures, scenes[:SEED]",
    )
    parser.add_argument(
        "--sink",
        action="append",
        help="jsonl[:FILE], video:OUT.mp4 (or .avi, .webm) or window; may be given several times (default: jsonl)",
    )
    parser.add_argument("--variant", help="a variant's name (default: the bundle's own)")
    parser.add_argument("--engine", help="litert or onnx (default: the variant's)")
    parser.add_argument("--threads", type=int, help="for inference (default: all cores but one, at most 4)")
    parser.add_argument("--frames", type=int, help="stop after so many answers")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Runs the loop; returns the exit code and the summary."""
    for name in ("threads", "frames"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} {getattr(arguments, name)}: must be 1 or more")
    specs = arguments.sink or ([] if arguments.json else ["jsonl"])
    if arguments.json and "jsonl" in specs:
        raise ConfigError("--json and --sink jsonl both want standard output: use --sink jsonl:FILE")
    openers = [sink_opener(spec) for spec in specs]
    options = {"variant": arguments.variant, "engine": arguments.engine, "threads": arguments.threads}
    with (
        Model.open(arguments.bundle, **options) as model,
        closing(open_source(arguments.source, buffers=BUFFERS)) as source,
    ):
        sinks: list[Sink] = []
        complete = False
        try:
            sinks.extend(opener(source.rate_hz) for opener in openers)
            summary = _loop(model, source, sinks, arguments.frames)
            complete = True
        finally:
            _close(sinks, complete=complete)
    return 0, summary


def _loop(model: Model, source: Source, sinks: list[Sink], limit: int | None) -> dict[str, object]:
    times: dict[str, list[float]] = {}
    count = dropped = 0
    started = time.perf_counter()
    ticks = model.stream(source)
    with closing(ticks):
        try:
            for tick in ticks:
                count, dropped = count + 1, tick.dropped
                if len(times.setdefault("age", [])) < 100_000:
                    for name, value in {**tick.stages_ms, "age": tick.age_ms}.items():
                        times.setdefault(name, []).append(value)
                wanted = [sink.write(tick) for sink in sinks]
                if not all(wanted) or count == limit:
                    break
        except KeyboardInterrupt:
            # The usual end of a camera loop: what was recorded is kept.
            pass
    seconds = time.perf_counter() - started
    return {
        "variant": model.variant.name,
        "engine": model.session.engine,
        "frames": count,
        "dropped": dropped,
        "seconds": round(seconds, 3),
        "fps": round(count / seconds, 1) if seconds else 0.0,
        "p50_ms": {name: _percentile(values, 50) for name, values in times.items()},
        "p90_ms": {name: _percentile(values, 90) for name, values in times.items()},
    }


def _percentile(values: list[float], percent: int) -> float:
    import numpy as np

    return round(float(np.percentile(values, percent)), 3) if values else 0.0


def _close(sinks: list[Sink], *, complete: bool) -> None:
    """Ends every sink, also after one that fails; the first failure is raised when all are closed."""
    failure: BaseException | None = None
    for sink in sinks:
        try:
            sink.close(complete=complete and failure is None)
        except OSError as error:
            failure = failure or error
    if failure is not None and complete:
        raise failure


def show(document: dict[str, object]) -> None:
    """Prints the summary on standard error: standard output belongs to the JSON lines."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{document['variant']} on {document['engine']}")
    table.add_column("stage")
    for column in ("p50 ms", "p90 ms"):
        table.add_column(column, justify="right")
    p50, p90 = document["p50_ms"], document["p90_ms"]
    for name, value in p50.items():  # type: ignore[attr-defined]
        table.add_row(name, f"{value:.2f}", f"{p90[name]:.2f}")  # type: ignore[index]
    console = Console(stderr=True)
    console.print(table)
    console.print(f"{document['frames']} frames in {document['seconds']} s, {document['fps']} a second")
    console.print(f"{document['dropped']} dropped")

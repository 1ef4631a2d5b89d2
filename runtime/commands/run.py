"""The command `orilla run`: the camera loop, from a source to sinks."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.model import Model
from orilla.runtime.sinks.sink import Sink, sink_opener
from orilla.runtime.sources.source import Source

WINDOW = 20_000
"""The summary's percentiles are over the last so many frames."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "bundle", help="a bundle's path, or the name of one that ships with Orilla: road, convnet, mobilenet, sentiment"
    )
    parser.add_argument(
        "--source",
        required=True,
        help="a camera's number or /dev/video*, a video file, a picture or a folder of pictures, scenes[:SEED]; of a "
        "text model, a text file, or - for standard input",
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
    if arguments.frames is not None and arguments.frames < 1:
        raise ConfigError(f"--frames {arguments.frames}: must be 1 or more")
    specs = arguments.sink or ([] if arguments.json else ["jsonl"])
    if arguments.json and any(spec.rstrip(":") == "jsonl" for spec in specs):
        raise ConfigError("--json and --sink jsonl both want standard output: use --sink jsonl:FILE")
    _check_files([arguments.bundle, arguments.source], specs)
    openers = [sink_opener(spec) for spec in specs]
    options = {"variant": arguments.variant, "engine": arguments.engine, "threads": arguments.threads}
    with (
        Model.open(arguments.bundle, **options) as model,
        closing(model.open_source(arguments.source)) as source,
    ):
        sinks: list[Sink] = []
        complete = False
        try:
            sinks.extend(opener(source.rate_hz) for opener in openers)
            summary = _loop(model, source, sinks, arguments.frames)
            complete = True
        except SourceError:
            # What a camera gave before it was lost is whole; a file that breaks off is not.
            complete = source.live
            raise
        finally:
            _close(sinks, complete=complete)
    return 0, summary


def _check_files(inputs: list[str], specs: list[str]) -> None:
    """Refuses an output that would replace an input, a file in an input folder, or another output."""
    if len(set(specs)) < len(specs):
        raise ConfigError("the same --sink is given twice")
    taken = {Path(name).resolve() for name in inputs}
    for path in (Path(spec.partition(":")[2]).resolve() for spec in specs if ":" in spec):
        if path in taken:
            raise ConfigError(f"--sink {path.name} is the source, the bundle or another sink's file: give another name")
        if path.exists() and taken & set(path.parents):
            raise ConfigError(f"--sink {path.name} is a file of the source or the bundle: give another name")
        taken.add(path)


def _loop(model: Model, source: Source, sinks: list[Sink], limit: int | None) -> dict[str, object]:
    times: dict[str, deque[float]] = {}
    count = dropped = 0
    started = time.perf_counter()
    ticks = model.stream(source)
    with closing(ticks):
        try:
            for tick in ticks:
                count, dropped = count + 1, tick.dropped
                for name, value in {**tick.stages_ms, "age": tick.age_ms}.items():
                    times.setdefault(name, deque(maxlen=WINDOW)).append(value)
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


def _percentile(values: Iterable[float], percent: int) -> float:
    """The nearest-rank percentile."""
    ranked = sorted(values)
    return round(ranked[max(0, -(-len(ranked) * percent // 100) - 1)], 3) if ranked else 0.0


def _close(sinks: list[Sink], *, complete: bool) -> None:
    """Ends every sink, also after one that fails; the first failure is raised when all are closed."""
    failure: BaseException | None = None
    for sink in sinks:
        try:
            sink.close(complete=complete)
        except OSError as error:
            failure = failure or error
    if failure is not None and complete:
        raise failure


def show(document: dict[str, Any]) -> None:
    """Prints the summary on standard error: standard output belongs to the JSON lines."""
    p50, p90 = document["p50_ms"], document["p90_ms"]
    lines = [
        f"{document['variant']} on {document['engine']}: {document['frames']} frames in {document['seconds']} s, "
        f"{document['fps']} a second, {document['dropped']} dropped",
        f"{'stage':<10}{'p50 ms':>9}{'p90 ms':>9}",
        *(f"{name:<10}{p50[name]:>9.2f}{p90[name]:>9.2f}" for name in p50),
    ]
    print("\n".join(lines), file=sys.stderr)

"""The command `orilla run`: run the camera loop from a source to sinks."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.composite import cascade, together
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.stream import Stream
from orilla.runtime.model import Model
from orilla.runtime.runner import Runner
from orilla.runtime.sinks.registry import SINKS, sink_opener
from orilla.runtime.sinks.sink import Sink
from orilla.runtime.sources.registry import SOURCES

if TYPE_CHECKING:
    from orilla.runtime.terminal import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "bundle",
        nargs="+",
        help="path of a bundle, or the name of a shipped one: road, convnet, mobilenet, sentiment; several bundles "
        "answer the same frames",
    )
    parser.add_argument(
        "--source",
        required=True,
        help=f"{', '.join(kind.example for kind in SOURCES.values())}; for a text model a text file, or - for "
        "standard input",
    )
    parser.add_argument(
        "--sink",
        action="append",
        help=f"{', '.join(kind.usage for kind in SINKS.values())}; may be repeated (default: jsonl)",
    )
    parser.add_argument(
        "--policy",
        help="latest, every, rate:HZ or deadline:MS (default: latest for a live source, every for a recording)",
    )
    parser.add_argument(
        "--cascade", metavar="BUNDLE", help="second model, which runs on what the first found (a cascade)"
    )
    parser.add_argument("--variant", help="name of a variant (default: the bundle's default)")
    parser.add_argument(
        "--engine",
        help="engine of orilla devices: litert, onnx, onnx:openvino, edgetpu, ... (default: the variant's)",
    )
    parser.add_argument("--threads", type=int, help="inference threads (default: all cores except one, at most 4)")
    parser.add_argument("--frames", type=int, help="stop after this number of answers")
    parser.add_argument("--stats", action="store_true", help="show rate, drops and percentiles while the loop runs")
    parser.add_argument("--record", metavar="FILE", help="write arrivals, times, drops and results, for orilla replay")
    parser.add_argument(
        "--clock",
        action="store_true",
        help="read the clock in the images of scenes+clock: the true latency, including camera and display",
    )


@dataclass(frozen=True, slots=True)
class RunResult(CommandResult):
    """The summary of a run."""

    to_stderr = True

    variant: str
    engine: str
    models: dict[str, str]
    """Variant and engine of each model, by its name."""
    events: dict[str, int]
    """Number of events of the source, by kind."""
    accelerator: dict[str, int]
    """Number of losses, recoveries and fallbacks to the CPU."""
    seconds: float
    fps: float
    stats: dict[str, object]
    """Frames, drops, and percentiles of the stages, as `Figures.to_dict` returns them."""

    def to_json(self) -> dict[str, object]:
        """Return the JSON document, in which the statistics are not nested."""
        document = CommandResult.to_json(self)
        del document["stats"], document["fps"]
        return {**document, **self.stats, "fps": self.fps}

    def render(self, console: ResultConsole) -> None:
        """Print the summary."""
        document: dict[str, Any] = self.to_json()
        reasons = ", ".join(f"{count} {reason}" for reason, count in document["drops"].items())
        dropped = f"{document['dropped']} dropped" + (f" ({reasons})" if reasons else "")
        console.print_line(
            f"{self.variant} on {self.engine}: {document['frames']} frames in {self.seconds} s, {self.fps} per second, "
            f"{dropped}"
        )
        columns = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
        console.print_line(f"{'stage':<10}" + "".join(f"{column.replace('_', ' '):>9}" for column in columns))
        for name in document["p50_ms"]:
            console.print_line(f"{name:<10}" + "".join(f"{document[column][name]:>9.2f}" for column in columns))


def execute(arguments: argparse.Namespace) -> RunResult:
    """Run the loop."""
    if arguments.frames is not None and arguments.frames < 1:
        msg = f"--frames {arguments.frames}: must be 1 or more"
        raise ConfigError(msg)
    policy = Policy.parse(arguments.policy) if arguments.policy is not None else None
    specs = arguments.sink or ([] if arguments.json else ["jsonl"])
    if arguments.json and any(spec.rstrip(":") == "jsonl" for spec in specs):
        msg = "--json and --sink jsonl both need standard output: use --sink jsonl:FILE"
        raise ConfigError(msg)
    inputs = [*arguments.bundle, *([arguments.cascade] if arguments.cascade else []), arguments.source]
    _check_files(inputs, specs, arguments.record)
    openers = [sink_opener(spec) for spec in specs]
    with _opened(arguments) as runner:
        for note in runner.notes():
            print(f"orilla: {note}", file=sys.stderr)
        run = _Run(arguments, runner)
        sinks: list[Sink] = []
        complete = live = False
        try:
            with runner.stream(arguments.source, policy=policy, on_event=run.report, record=arguments.record) as stream:
                live = stream.live
                sinks.extend(opener(stream.rate_hz, live=live) for opener in openers)
                result = run.loop(stream, sinks)
            complete = True
        except SourceError:
            # The outputs of a lost camera are complete. Those of a truncated file are not.
            complete = live
            raise
        finally:
            _close(sinks, complete=complete)
    return result


def _opened(arguments: argparse.Namespace) -> Runner:
    """Open the model, the models or the cascade."""
    several = len(arguments.bundle) > 1
    if several and (arguments.cascade or arguments.variant):
        msg = f"{'--cascade' if arguments.cascade else '--variant'} needs exactly one bundle"
        raise ConfigError(msg)
    options = {"engine": arguments.engine, "threads": arguments.threads}
    with ExitStack() as opened:

        def load(name: str, variant: str | None) -> Model:
            return opened.enter_context(Model.open(name, variant=variant, **options))

        runner: Runner
        if several:
            names = [Path(name).stem for name in arguments.bundle]
            if len(set(names)) < len(names):
                msg = f"the bundles {', '.join(arguments.bundle)} must have different names"
                raise ConfigError(msg)
            loaded = [load(name, None) for name in arguments.bundle]
            runner = together(**dict(zip(names, loaded, strict=True)))
        else:
            first = load(arguments.bundle[0], arguments.variant)
            runner = cascade(first, load(arguments.cascade, None)) if arguments.cascade else first
        opened.pop_all()
        return runner


class _Run:
    """One run with its own counts."""

    def __init__(self, arguments: argparse.Namespace, runner: Runner) -> None:
        self._arguments, self._runner, self._models = arguments, runner, runner.describe()
        self._events: dict[str, int] = {}

    def report(self, event: Event) -> None:
        """Report an event of the source on standard error."""
        self._events[event.kind] = self._events.get(event.kind, 0) + 1
        print(f"orilla: {event.detail}", file=sys.stderr)

    def loop(self, stream: Stream, sinks: list[Sink]) -> RunResult:
        """Process all answers. Return the summary."""
        count, limit = 0, self._arguments.frames
        started = time.perf_counter()
        with _live(stream) if self._arguments.stats else nullcontext():
            try:
                for tick in stream:
                    count += 1
                    if self._arguments.clock:
                        self._read_clock(stream, tick)
                    open_sinks = [sink.write(tick) for sink in sinks]
                    if not all(open_sinks) or count == limit:
                        break
            except KeyboardInterrupt:
                # An interrupt is the normal end of a camera loop, so the recording is kept.
                pass
            finally:
                stream.close()  # closing also marks the last answer as done
        seconds = time.perf_counter() - started
        if self._arguments.clock and "clock" not in stream.stats(recent=False).stages:
            print("orilla: --clock: the images have no clock; scenes+clock draws one", file=sys.stderr)
        models = [text.split(" on ", 1) for text in self._models.values()]
        return RunResult(
            variant=", ".join(
                variant if len(models) == 1 else f"{name} {variant}"
                for name, (variant, _) in zip(self._models, models, strict=True)
            ),
            engine=", ".join(dict.fromkeys(engine for _, engine in models)),
            models=self._models,
            events=self._events,
            accelerator=self._runner.counts(),
            seconds=round(seconds, 3),
            fps=round(count / seconds, 1) if seconds else 0.0,
            stats=stream.stats(recent=False).to_dict(),
        )

    @staticmethod
    def _read_clock(stream: Stream, tick: Tick) -> None:
        from orilla.runtime.scenes import clock

        if isinstance(tick.frame, Frame) and (drawn := clock.read(tick.frame.image)) is not None:
            stream.note("clock", clock.since_ms(drawn, time.monotonic_ns()))


def _live(stream: Stream) -> AbstractContextManager[object]:
    from orilla.runtime.commands.live import Live

    return Live(stream)


def _check_files(inputs: list[str], specs: list[str], record: str | None) -> None:
    """Raise an error for an output that would replace an input, a file in an input folder, or another output."""
    if len(set(specs)) < len(specs):
        msg = "the same --sink is given twice"
        raise ConfigError(msg)
    taken = {Path(name).resolve() for name in inputs}
    outputs = [("--sink", Path(spec.partition(":")[2]).resolve()) for spec in specs if ":" in spec]
    outputs += [("--record", Path(record).resolve())] if record else []
    for option, path in outputs:
        if path in taken:
            msg = f"{option} {path.name} is the source, the bundle or another sink's file: give another name"
            raise ConfigError(msg)
        if path.exists() and taken & set(path.parents):
            msg = f"{option} {path.name} is a file of the source or the bundle: give another name"
            raise ConfigError(msg)
        taken.add(path)


def _close(sinks: list[Sink], *, complete: bool) -> None:
    """Close every sink, even after one fails. The first failure is raised at the end."""
    failure: BaseException | None = None
    for sink in sinks:
        try:
            sink.close(complete=complete)
        except OSError as error:
            failure = failure or error
    if failure is not None and complete:
        raise failure

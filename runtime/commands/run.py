"""The command `orilla run`: run the camera loop from a source to sinks."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# OpenCV searches its own folder first while it imports NumPy, so it is faster to import NumPy before OpenCV.
import numpy as np  # noqa: F401

from orilla.devices.errors import ConfigError
from orilla.runtime.commands import track_options
from orilla.runtime.commands.lazy_help import lazy_help
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.composite import cascade, together
from orilla.runtime.frame import Event, Frame, Result, Tick
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.stats import Figures
from orilla.runtime.loop.stream import Stream
from orilla.runtime.model import Model
from orilla.runtime.runner import Runner
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import SINKS, SinkOpener, sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sinks.sink_thread import SinkCounts
from orilla.runtime.sources.registry import SOURCES

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole
    from orilla.runtime.tracking.track import Track


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "bundle",
        nargs="+",
        help="path of a bundle, or the name of a shipped one: road, convnet, mobilenet, sentiment; several bundles "
        "process the same frames",
    )
    lazy_help(
        parser.add_argument("--source", required=True),
        lambda: (
            f"{SOURCES.described(lambda _, kind: kind.example)}; for a text model a text file, or - for standard input"
        ),
    )
    lazy_help(
        parser.add_argument("--sink", action="append"),
        lambda: f"{SINKS.described(lambda _, kind: kind.usage)}; may be repeated (default: jsonl)",
    )
    parser.add_argument(
        "--policy",
        help="latest, every, rate:HZ or deadline:MS (default: latest for a live source, every for a file)",
    )
    parser.add_argument(
        "--cascade",
        metavar="BUNDLE",
        help="second model, which runs on the parts of the frame in which the first model finds something",
    )
    track_options.add_arguments(parser)
    parser.add_argument("--variant", help="name of a variant (default: the bundle's default)")
    parser.add_argument(
        "--engine",
        help="engine, as listed by orilla devices: litert, onnx, onnx:openvino, edgetpu, ... (default: the variant's)",
    )
    parser.add_argument("--threads", type=int, help="inference threads (default: all cores except one, at most 4)")
    parser.add_argument("--frames", type=int, help="stop after this number of answers")
    parser.add_argument("--stats", action="store_true", help="show rate, dropped frames and times while the loop runs")
    parser.add_argument(
        "--record", metavar="FILE", help="record times, dropped frames and results in a file for orilla replay"
    )
    parser.add_argument(
        "--clock",
        action="store_true",
        help="measure the latency from display to answer: the camera must film a screen that shows scenes+clock",
    )


@dataclass(frozen=True, slots=True)
class RunResult(CommandResult):
    """The summary of a run."""

    to_stderr = True

    models: dict[str, str]
    """Variant and engine of each model, as `VARIANT on ENGINE`, by the name of the model."""
    events: dict[str, int]
    """Number of events of the source, by kind."""
    accelerator: dict[str, int]
    """Number of times that the accelerator was lost, recovered, or replaced by the CPU. Empty if there is no
    accelerator."""
    seconds: float
    """Duration of the loop."""
    fps: float
    """Answers per second."""
    figures: Figures
    """Statistics of the whole run."""
    counts: dict[str, object]
    """Counts of lines and zones at the end of the run. Empty if there are none."""
    sinks: dict[str, SinkCounts]
    """Number of written and dropped ticks of each sink, by its specification."""

    @property
    def exit_code(self) -> int:
        """Return 2 if a sink failed, so that answers are missing in its output, else 0."""
        return 2 if any(sink.failed for sink in self.sinks.values()) else 0

    @property
    def variant(self) -> str:
        """Return the name of the variant. For several models, return `MODEL VARIANT` for each, separated by commas."""
        variants = {name: text.split(" on ", 1)[0] for name, text in self.models.items()}
        if len(variants) == 1:
            return next(iter(variants.values()))
        return ", ".join(f"{name} {variant}" for name, variant in variants.items())

    @property
    def engine(self) -> str:
        """Return the engines of all models."""
        return ", ".join(dict.fromkeys(text.split(" on ", 1)[1] for text in self.models.values()))

    def to_json(self) -> dict[str, object]:
        """Return the JSON document with the statistics at the top level."""
        return {
            "variant": self.variant,
            "engine": self.engine,
            "models": self.models,
            "events": self.events,
            "accelerator": self.accelerator,
            "seconds": self.seconds,
            **self.figures.to_dict(),
            "fps": self.fps,
            **({"counts": self.counts} if self.counts else {}),
            "sinks": {name: asdict(sink) for name, sink in self.sinks.items()},
        }

    def render(self, console: ResultConsole) -> None:
        """Print the summary, and a row for each stage."""
        drops = self.figures.drops
        reasons = ", ".join(f"{count} {reason}" for reason, count in drops.items())
        dropped = f"{sum(drops.values())} dropped" + (f" ({reasons})" if reasons else "")
        console.print_line(
            f"{self.variant} on {self.engine}: {self.figures.frames} frames in {self.seconds} s, "
            f"{self.fps} per second, {dropped}"
        )
        for line in track_options.count_lines(self.counts):
            console.print_line(line)
        for name, sink in self.sinks.items():
            if sink.dropped or sink.failed:
                failure = f"; it ended: {sink.failed}" if sink.failed else ""
                console.print_line(f"sink {name}: {sink.written} written, {sink.dropped} dropped{failure}")
        header = "".join(f"{column:>9}" for column in ("p50 ms", "p90 ms", "p99 ms", "max ms"))
        console.print_line(f"{'stage':<10}{header}")
        for name, stage in self.figures.stages.items():
            times_ms = (stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms)
            console.print_line(f"{name:<10}" + "".join(f"{time_ms:>9.2f}" for time_ms in times_ms))


def execute(arguments: argparse.Namespace) -> RunResult:
    """Run the loop until its source ends, a limit is reached, or the user stops it."""
    if arguments.frames is not None and arguments.frames < 1:
        msg = f"--frames {arguments.frames}: must be 1 or more"
        raise ConfigError(msg)
    policy = Policy.parse(arguments.policy) if arguments.policy is not None else None
    track = track_options.track_of(arguments)
    specs = _sink_specs(arguments)
    inputs = [*arguments.bundle, *([arguments.cascade] if arguments.cascade else []), arguments.source]
    openers = [sink_opener(spec) for spec in specs]
    _check_files(inputs, openers, arguments.record)
    with _opened(arguments) as runner:
        for note in runner.notes():
            print(f"orilla: {note}", file=sys.stderr)
        return _Run(arguments, runner, track).run(policy, openers)


def _sink_specs(arguments: argparse.Namespace) -> list[str]:
    """Return the values of `--sink`, or the default."""
    specs: list[str] = arguments.sink or ([] if arguments.json else ["jsonl"])
    if arguments.json and any(spec.partition("?")[0].rstrip(":") == "jsonl" for spec in specs):
        msg = "--json and --sink jsonl both need standard output: use --sink jsonl:FILE"
        raise ConfigError(msg)
    return specs


def _opened(arguments: argparse.Namespace) -> Runner:
    """Open the model, the models or the cascade."""
    has_several = len(arguments.bundle) > 1
    if has_several and (arguments.cascade or arguments.variant):
        msg = f"{'--cascade' if arguments.cascade else '--variant'} needs exactly one bundle"
        raise ConfigError(msg)
    with ExitStack() as opened:

        def load(bundle: str, variant: str | None = None) -> Model:
            model = Model.open(bundle, variant=variant, engine=arguments.engine, threads=arguments.threads)
            return opened.enter_context(model)

        runner: Runner
        if has_several:
            names = [Path(bundle).stem for bundle in arguments.bundle]
            if len(set(names)) < len(names):
                msg = f"the bundles {', '.join(arguments.bundle)} must have different names"
                raise ConfigError(msg)
            models = [load(bundle) for bundle in arguments.bundle]
            runner = together(**dict(zip(names, models, strict=True)))
        else:
            first = load(arguments.bundle[0], arguments.variant)
            runner = cascade(first, load(arguments.cascade)) if arguments.cascade else first
        opened.pop_all()
        return runner


class _Run:
    """One run of the loop, which counts the events of its source."""

    def __init__(self, arguments: argparse.Namespace, runner: Runner, track: Track | None) -> None:
        self._arguments, self._runner, self._models = arguments, runner, runner.describe()
        self._track = track
        self._events: dict[str, int] = {}
        self._sinks: Sinks | None = None
        self._tracked: Result | None = None

    def run(self, policy: Policy | None, openers: Sequence[SinkOpener]) -> RunResult:
        """Open the source and the sinks, process all answers, and close the sinks."""
        source, record = self._arguments.source, self._arguments.record
        with self._runner.stream(
            source, policy=policy, on_event=self._on_event, record=record, track=self._track or False
        ) as stream:
            setup = Setup(stream.rate_hz, stream.live, self._labels(), self._print)
            self._sinks = Sinks(openers, setup, self._on_sink_event)
            return self._loop(stream, self._sinks)

    def _labels(self) -> tuple[str, ...]:
        return self._runner.bundle.manifest.labels if isinstance(self._runner, Model) else ()

    def _on_event(self, event: Event) -> None:
        """Count an event of the source, report it on standard error, and pass it to the sinks."""
        self._on_sink_event(event)
        if self._sinks is not None:
            self._sinks.event(event)

    def _on_sink_event(self, event: Event) -> None:
        self._events[event.kind] = self._events.get(event.kind, 0) + 1
        self._print(event.detail)

    @staticmethod
    def _print(detail: str) -> None:
        print(f"orilla: {detail}", file=sys.stderr)

    def _loop(self, stream: Stream, sinks: Sinks) -> RunResult:
        started = time.perf_counter()
        try:
            with _live(stream) if self._arguments.stats else nullcontext():
                count = self._process(stream, sinks)
        finally:
            sink_counts = sinks.close()
        seconds = time.perf_counter() - started
        figures = stream.stats(recent=False)
        if self._arguments.clock and "clock" not in figures.stages:
            print("orilla: --clock: the images show no clock; --source scenes+clock draws one", file=sys.stderr)
        return RunResult(
            models=self._models,
            events=self._events,
            accelerator=self._runner.counts(),
            seconds=round(seconds, 3),
            fps=round(count / seconds, 1) if seconds else 0.0,
            figures=figures,
            counts=track_options.counts_of(self._tracked) if self._tracked is not None else {},
            sinks=sink_counts,
        )

    def _process(self, stream: Stream, sinks: Sinks) -> int:
        """Pass each answer to the sinks. Return the number of answers."""
        count = 0
        try:
            for tick in stream:
                count += 1
                if self._track is not None:
                    self._tracked = tick.result
                if self._arguments.clock:
                    self._read_clock(stream, tick)
                if not sinks.write(tick) or count == self._arguments.frames:
                    break
        except KeyboardInterrupt:
            # An interrupt is the normal end of a camera loop.
            pass
        finally:
            stream.close()  # Closing the stream also marks the last answer as done.
        return count

    @staticmethod
    def _read_clock(stream: Stream, tick: Tick) -> None:
        from orilla.runtime.scenes import clock

        if isinstance(tick.frame, Frame) and (drawn := clock.read(tick.frame.image)) is not None:
            stream.note("clock", clock.since_ms(drawn, time.monotonic_ns()))


def _live(stream: Stream) -> AbstractContextManager[object]:
    from orilla.runtime.commands.live import Live

    return Live(stream)


def _check_files(inputs: list[str], openers: Sequence[SinkOpener], record: str | None) -> None:
    """Raise an error for an output that would replace an input, a file in an input folder, or another output."""
    if len({opener.spec for opener in openers}) < len(openers):
        msg = "the same --sink is given twice"
        raise ConfigError(msg)
    taken = {Path(name).resolve() for name in inputs}
    outputs = [("--sink", Path(opener.target).resolve()) for opener in openers if opener.target]
    outputs += [("--record", Path(record).resolve())] if record else []
    for option, path in outputs:
        if path in taken:
            msg = f"{option} {path.name} is the source, the bundle or another sink's file: give another name"
            raise ConfigError(msg)
        if path.exists() and taken & set(path.parents):
            msg = f"{option} {path.name} is a file of the source or the bundle: give another name"
            raise ConfigError(msg)
        taken.add(path)

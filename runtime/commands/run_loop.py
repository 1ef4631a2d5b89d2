"""Open the models, the source and the sinks of `orilla run`, and pass the answers to the sinks."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

# OpenCV searches its own folder first while it imports NumPy, so it is faster to import NumPy before OpenCV.
import numpy as np  # noqa: F401

from orilla.devices.errors import ConfigError
from orilla.runtime.commands import ladder_options, shadow_options, track_options
from orilla.runtime.commands.notify import ServiceNotifier
from orilla.runtime.commands.run_plan import Plan
from orilla.runtime.commands.run_result import ClosingInterrupted, RunResult
from orilla.runtime.commands.run_sources import parse_policies, parse_sinks, parse_sources
from orilla.runtime.commands.run_trials import Trials
from orilla.runtime.composite import cascade, together
from orilla.runtime.frame import Event, Frame, Result, Tick
from orilla.runtime.loop.ladder import Ladder
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.shadow import Shadow
from orilla.runtime.loop.stream import Stream
from orilla.runtime.loop.streams import Streams
from orilla.runtime.model import Model
from orilla.runtime.runner import Runner
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import SinkOpener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.terminal.messages import print_message

if TYPE_CHECKING:
    from orilla.runtime.tracking.track import Track


def run(arguments: argparse.Namespace) -> Plan | RunResult:
    """Run the loop until its source ends, a limit is reached, or the user stops it."""
    sources = parse_sources(arguments.source)
    policies = parse_policies(arguments.policy or [], list(sources))
    track = track_options.track_of(arguments)
    extras = _Extras(ladder_options.ladder_of(arguments), shadow_options.shadow_of(arguments))
    openers = parse_sinks(_sink_specs(arguments), list(sources))
    _check_files([*_bundles(arguments), *sources.values()], openers, arguments.record)
    if arguments.dry_run:
        with _opened(arguments) as runner:
            plan = Plan.of(runner, sources, policies, [opener.spec for opener in openers])
            plan = replace(plan, rungs=ladder_options.rungs_of(runner, extras.ladder))
            return plan if arguments.workers is None else replace(plan, workers=arguments.workers)
    with Trials(_bundles(arguments)) as trials, _opened(arguments) as runner:
        for note in runner.notes():
            print_message(f"orilla: {note}")
        return _Run(arguments, runner, track, extras, trials.answered).run(sources, policies, openers)


def _bundles(arguments: argparse.Namespace) -> list[str]:
    return [*arguments.bundle, *([arguments.cascade] if arguments.cascade else [])]


def _sink_specs(arguments: argparse.Namespace) -> list[str]:
    """Return the values of `--sink`, or the default."""
    default = "text" if sys.stdout.isatty() else "jsonl"
    specs: list[str] = arguments.sink or ([] if arguments.json else [default])
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
            options = {"engine": arguments.engine, "threads": arguments.threads, "trust": arguments.trust}
            model = Model.open(bundle, variant=variant, **options)
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


class _Extras(NamedTuple):
    """Options of a loop with one model and one source."""

    ladder: Ladder | None
    shadow: Shadow | None


class _Run:
    """One run of the loop, which counts the events of its source."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        runner: Runner,
        track: Track | None,
        extras: _Extras,
        answered: Callable[[], None],
    ) -> None:
        self._answered = answered
        self._arguments, self._runner, self._models = arguments, runner, runner.describe()
        self._track, self._extras = track, extras
        self._events: dict[str, int] = {}
        self._sinks: Sinks | None = None
        self._streams: Mapping[str, Stream] = {}
        self._notifier = ServiceNotifier(self._status)
        self._tracked: dict[str, Result] = {}
        """Last result of each source, if objects are tracked."""

    def run(
        self, sources: Mapping[str, str], policies: Mapping[str, Policy], openers: Sequence[SinkOpener]
    ) -> RunResult:
        """Open the sources and the sinks, pass all answers to the sinks, and close them."""
        track, record = self._track or False, self._arguments.record
        guard = {"all": True, "none": False}.get(self._arguments.guard, self._arguments.guard)
        workers = self._arguments.workers
        if "" not in sources:
            if (workers or 1) != 1:
                msg = f"--workers {workers}: with several sources, each source has one worker; leave the option out"
                raise ConfigError(msg)
            several = self._runner.streams(
                sources, policy=policies, on_event=self._on_event, record=record, track=track, guard=guard
            )
            with several:
                return self._loop(several, several.sources, openers)
        one = self._runner.stream(
            sources[""],
            policy=policies.get(""),
            on_event=self._on_event,
            record=record,
            track=track,
            guard=guard,
            workers=workers,
            ladder=self._extras.ladder,
            shadow=self._extras.shadow,
        )
        with one:
            return self._loop(one, {"": one}, openers)

    def _labels(self) -> tuple[str, ...]:
        return self._runner.bundle.manifest.labels if isinstance(self._runner, Model) else ()

    def _on_event(self, event: Event) -> None:
        """Count an event of the source, report it on standard error, and pass it to the sinks."""
        self._on_sink_event(event)
        self._notifier.event(event.kind, event.source)
        if self._sinks is not None:
            self._sinks.event(event)

    def _on_sink_event(self, event: Event) -> None:
        self._events[event.kind] = self._events.get(event.kind, 0) + 1
        self._print(event.detail if event.source is None else f"{event.source}: {event.detail}")

    @staticmethod
    def _print(detail: str) -> None:
        print_message(f"orilla: {detail}")

    def _status(self) -> str:
        """Return one line about the loop for systemd."""
        parts = []
        for name, stream in self._streams.items():
            figures = stream.stats()
            parts.append(
                (f"{name}: " if name else "")
                + f"{figures.fps:.1f} answers per second, {100 * figures.drop_ratio:.1f} % of the frames dropped"
            )
        return "; ".join(parts)

    def _setup(self, streams: Mapping[str, Stream], source: str | None) -> Setup:
        """Return the description of a source's loop.

        If `source` is None, describe the loops of all sources together.
        """
        stream = streams[""] if "" in streams else streams.get(source or "")
        rate_hz = None if stream is None else stream.rate_hz
        live = any(other.live for other in streams.values()) if stream is None else stream.live
        return Setup(rate_hz, live, self._labels(), self._print)

    def _loop(self, ticks: Stream | Streams, streams: Mapping[str, Stream], openers: Sequence[SinkOpener]) -> RunResult:
        self._streams = streams
        self._sinks = Sinks(openers, lambda source: self._setup(streams, source), self._on_sink_event)
        started = time.perf_counter()
        try:
            try:
                with _live(streams) if self._arguments.stats else nullcontext(), self._notifier:
                    count = self._process(ticks, streams, self._sinks)
            finally:
                sink_counts = self._sinks.close()
        except KeyboardInterrupt as error:
            raise ClosingInterrupted from error
        seconds = time.perf_counter() - started
        figures = {name: stream.stats(recent=False) for name, stream in streams.items()}
        if self._arguments.clock and not any("clock" in own.stages for own in figures.values()):
            self._print("--clock: no clock was found in the images; --source scenes+clock draws one")
        return RunResult(
            models=self._models,
            events=self._events,
            accelerator=self._runner.counts(),
            seconds=round(seconds, 3),
            fps=round(count / seconds, 1) if seconds else 0.0,
            figures=figures,
            counts={name: track_options.counts_of(result) for name, result in self._tracked.items()},
            sinks=sink_counts,
        )

    def _process(self, ticks: Stream | Streams, streams: Mapping[str, Stream], sinks: Sinks) -> int:
        """Pass each answer to the sinks. Return the number of answers."""
        count = 0
        try:
            for tick in ticks:
                count += 1
                self._notifier.ticked()
                self._answered()
                if self._track is not None:
                    self._tracked[tick.source or ""] = tick.result
                if self._arguments.clock:
                    self._read_clock(streams[tick.source or ""], tick)
                if not sinks.write(tick) or count == self._arguments.frames:
                    break
        except KeyboardInterrupt:
            # A camera loop normally ends with an interrupt.
            pass
        finally:
            ticks.close()  # Closing the stream also marks the last answer as done.
        return count

    @staticmethod
    def _read_clock(stream: Stream, tick: Tick) -> None:
        from orilla.runtime.scenes import clock

        if isinstance(tick.frame, Frame) and (drawn := clock.read(tick.frame.image)) is not None:
            stream.note("clock", clock.since_ms(drawn, time.monotonic_ns()))


def _live(streams: Mapping[str, Stream]) -> AbstractContextManager[object]:
    from orilla.runtime.commands.live import Live

    return Live(streams)


def _check_files(inputs: list[str], openers: Sequence[SinkOpener], record: str | None) -> None:
    """Raise an error for an output that would replace an input, a file in an input folder, or another output."""
    taken = {Path(name).resolve() for name in inputs}
    outputs = [("--sink", Path(opener.target).resolve()) for opener in openers if opener.target]
    outputs += [("--record", Path(record).resolve())] if record else []
    for option, path in outputs:
        if path in taken:
            msg = f"{option} {path.name} is already used (source, bundle or another sink): choose another file name"
            raise ConfigError(msg)
        if path.exists() and taken & set(path.parents):
            msg = f"{option} {path.name} is a file of the source or the bundle: choose another file name"
            raise ConfigError(msg)
        taken.add(path)

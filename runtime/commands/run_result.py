"""The summary of `orilla run`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, cast

from orilla.devices.names import counted
from orilla.runtime.commands import track_options
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.loop.stats import Figures, FiguresDocument
from orilla.runtime.sinks.sink_thread import SinkCounts

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole


class SourceDocument(FiguresDocument, total=False):
    """Statistics of a source."""

    counts: dict[str, Any]
    """Counts of lines and zones by name. With several models, the counts of each model, by its name. Absent if there
    are no lines and zones."""


class _RunKeys(TypedDict):
    variant: str
    engine: str
    models: dict[str, str]
    """Variant and engine of each model, as `VARIANT on ENGINE`. The keys are the names of the models."""
    events: dict[str, int]
    """Number of events by kind."""
    accelerator: dict[str, int]
    """Number of times that the accelerator was lost, came back, and was replaced by the CPU."""
    seconds: float
    sinks: dict[str, SinkCounts]
    """Sinks by specification."""


class RunDocument(_RunKeys, SourceDocument):
    """The summary of a run with one source."""


class SeveralSourcesDocument(_RunKeys):
    """The summary of a run with several sources."""

    sources: dict[str, SourceDocument]
    """Statistics by the name of the source."""
    fps: float
    """Answers per second of all sources."""


class ClosingInterrupted(KeyboardInterrupt):
    """Raised if the user interrupts the loop again while it closes its outputs, which may then be incomplete."""


@dataclass(frozen=True, slots=True)
class RunResult(CommandResult):
    """The summary of a run."""

    to_stderr = True

    models: dict[str, str]
    """Variant and engine of each model, as `VARIANT on ENGINE`. The keys are the names of the models."""
    events: dict[str, int]
    """Number of events of the source for each kind of event."""
    accelerator: dict[str, int]
    """Number of times that the accelerator was lost, recovered, or replaced by the CPU. Empty if there is no
    accelerator."""
    seconds: float
    """Duration of the loop."""
    fps: float
    """Answers per second."""
    figures: dict[str, Figures]
    """Statistics of the whole run for each source. The keys are the names of the sources. The name is empty if there is
    only one source."""
    counts: dict[str, dict[str, object]]
    """Counts of lines and zones at the end of the run for each source. Empty if there are none."""
    sinks: dict[str, SinkCounts]
    """Number of written and dropped ticks of each sink. The keys are the specifications."""

    @classmethod
    def before_start(cls) -> RunResult:
        """Return the result of a run that the user stopped before the loop started. Stopping is not an error."""
        return cls({}, {}, {}, 0.0, 0.0, {}, {}, {})

    @property
    def exit_code(self) -> int:
        """Return 2 if a sink failed, because answers are then missing in its output. Otherwise, return 0."""
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

    def to_json(self) -> RunDocument | SeveralSourcesDocument:
        """Return the JSON document. The statistics of a single source are at the top level."""
        run: _RunKeys = {
            "variant": self.variant,
            "engine": self.engine,
            "models": self.models,
            "events": self.events,
            "accelerator": self.accelerator,
            "seconds": self.seconds,
            "sinks": self.sinks,
        }
        if "" in self.figures:
            return {**run, **self._statistics(""), "fps": self.fps}
        return {**run, "sources": {name: self._statistics(name) for name in self.figures}, "fps": self.fps}

    def _statistics(self, source: str) -> SourceDocument:
        document = cast("SourceDocument", self.figures[source].to_dict())
        if self.counts.get(source):
            document["counts"] = self.counts[source]
        return document

    def render(self, console: ResultConsole) -> None:
        """Print the summary, and a table with one row per stage for each source."""
        if not self.models:
            console.print_line("stopped before the loop started")
            return
        frames = sum(figures.frames for figures in self.figures.values())
        console.print_line(
            f"{self.variant} on {self.engine}: {counted(frames, 'frame')} in {self.seconds} s, {self.fps} per second"
            + (_dropped(self.figures[""]) + _workers(self.figures[""]) if "" in self.figures else "")
        )
        for name, sink in self.sinks.items():
            if sink.dropped or sink.failed:
                failure = f"; it ended: {sink.failed}" if sink.failed else ""
                console.print_line(f"sink {name}: {sink.written} written, {sink.dropped} dropped{failure}")
        for source, figures in self.figures.items():
            if source:
                console.print_line(f"{source}: {counted(figures.frames, 'frame')}{_dropped(figures)}")
            if figures.rungs:
                console.print_line("rungs: " + ", ".join(f"{name} {count}" for name, count in figures.rungs.items()))
            if figures.agreement is not None:
                console.print_line(f"agreement with the reference of the shadow check: {figures.agreement:.4f}")
            for line in track_options.count_lines(self.counts.get(source, {})):
                console.print_line(line)
            _print_stages(figures, console)


def _dropped(figures: Figures) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in figures.drops.items())
    return f", {sum(figures.drops.values())} dropped" + (f" ({reasons})" if reasons else "")


def _workers(figures: Figures) -> str:
    return f", {figures.workers} inference workers" if figures.workers > 1 else ""


def _print_stages(figures: Figures, console: ResultConsole) -> None:
    header = "".join(f"{column:>9}" for column in ("p50 ms", "p90 ms", "p99 ms", "max ms"))
    console.print_line(f"{'stage':<10}{header}")
    for name, stage in figures.stages.items():
        times_ms = (stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms)
        console.print_line(f"{name:<10}" + "".join(f"{time_ms:>9.2f}" for time_ms in times_ms))

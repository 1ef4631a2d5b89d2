"""Show the statistics of a running loop on standard error, as a table on a terminal and as single lines elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType

from rich.console import Group
from rich.live import Live as Screen
from rich.table import Table

from orilla.devices.names import counted
from orilla.runtime.loop.stats import Figures
from orilla.runtime.loop.stream import Stream
from orilla.runtime.terminal.messages import print_message
from orilla.runtime.terminal.tables import TableConsole

TABLE_S, LINE_S = 0.5, 5.0
"""Time between two tables, and between two lines, in seconds."""


class Live:
    """Context manager that displays the statistics of the sources while the loop runs.

    Args:
        streams: The stream of each source, by name. The name is empty if there is only one source.
    """

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._streams = streams
        self._over = threading.Event()
        self._console = TableConsole(stderr=True)
        self._thread = threading.Thread(target=self._show, name="orilla-stats", daemon=True)

    def __enter__(self) -> Live:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _show(self) -> None:
        if not self._console.is_terminal:
            while not self._over.wait(LINE_S):
                for name, stream in self._streams.items():
                    print_message((f"{name}: " if name else "") + line(stream.stats()))
            return
        with Screen(console=self._console, auto_refresh=False, transient=True) as screen:
            while not self._over.wait(TABLE_S):
                tables = [table(stream.stats(), name) for name, stream in self._streams.items()]
                screen.update(Group(*tables), refresh=True)


def line(figures: Figures) -> str:
    """Format the statistics as one line."""
    stages = figures.stages
    times = [
        f"{name} {stages[name].p50_ms:.1f}/{stages[name].p99_ms:.1f}" for name in ("infer", "age") if name in stages
    ]
    summary = (
        f"{counted(figures.frames, 'frame')}, {figures.fps:.1f} per second, {100 * figures.drop_ratio:.1f} % dropped"
    )
    summary += f", rung {figures.rung}" if figures.rung is not None else ""
    summary += f", agreement {figures.agreement:.3f}" if figures.agreement is not None else ""
    return f"{summary}, newest answer {figures.age_ms:.0f} ms old; p50/p99 ms: {', '.join(times)}"


def table(figures: Figures, source: str = "") -> Table:
    """Return the statistics of a source as a table with one row per stage."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in figures.drops.items()) or "none"
    name = f"{source}   " if source else ""
    workers = f"   {figures.workers} workers" if figures.workers > 1 else ""
    rung = f"   rung {figures.rung}" if figures.rung is not None else ""
    agreement = f"   agreement {figures.agreement:.3f}" if figures.agreement is not None else ""
    rate = f"{figures.fps:.1f} per second{workers}{rung}{agreement}"
    title = f"{name}{counted(figures.frames, 'frame')}   {rate}   newest answer {figures.age_ms:.0f} ms old"
    caption = f"dropped: {reasons} ({100 * figures.drop_ratio:.1f} %)"
    stages = Table(title=title, caption=caption, title_justify="left")
    stages.add_column("last minute")
    for column in ("p50 ms", "p90 ms", "p99 ms", "max ms"):
        stages.add_column(column, justify="right")
    for name, stage in figures.stages.items():
        values = (stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms)
        stages.add_row(name, *(f"{value:.2f}" for value in values))
    return stages

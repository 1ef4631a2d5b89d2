"""Sink that discards the ticks, for measurements and for programs that only need events."""

from __future__ import annotations

from orilla.runtime.frame import Tick
from orilla.runtime.sinks.options import NoOptions
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = False
Options = NoOptions


class Nothing(Sink):
    """Discards all ticks and events."""

    def write(self, tick: Tick) -> bool:
        """Do nothing, and let the loop continue."""
        del tick
        return True

    def close(self) -> None:
        """Do nothing."""


def open_sink(target: str, options: NoOptions, setup: Setup) -> Nothing:
    """Return the sink."""
    del target, options, setup
    return Nothing()

"""The table of sinks, and the function that finds a sink by `NAME` or `NAME:ARGUMENT`."""

from __future__ import annotations

from typing import NamedTuple

from orilla.devices.errors import ConfigError
from orilla.devices.plugins import ModuleRegistry, Modules
from orilla.runtime.sinks.sink import Opener, Sink


class SinkKind(NamedTuple):
    """A kind of sink, with the form of its specification and the module that opens it."""

    usage: str
    """Specification that the user types, for help and messages. The part in `[...]` is optional."""
    module: str
    """Module whose `open_sink(argument, rate_hz, live)` opens the sink: its name in the folder `sinks`, or its full
    name for a plug-in. The module's `NEEDS_ARGUMENT` is True if the sink needs the part after the colon."""


BUILT_IN = {
    "jsonl": SinkKind("jsonl[:FILE]", "jsonl"),
    "video": SinkKind("video:OUT.mp4 (or .avi, .webm)", "video"),
    "window": SinkKind("window", "window"),
}
"""Kinds of sinks that are part of Orilla."""

SINKS = ModuleRegistry(
    "sink", "orilla.sinks", BUILT_IN, Modules(("open_sink", "NEEDS_ARGUMENT"), "orilla.runtime.sinks")
)
"""Kinds of sinks by name. Packages add sinks in the group `orilla.sinks`."""


def sink_opener(spec: str) -> Opener:
    """Parse `NAME` or `NAME:ARGUMENT` and return the function that opens the sink.

    Raise `ConfigError` if the sink is unknown or lacks its argument.
    """
    name, _, argument = spec.partition(":")
    module = SINKS.module(name)
    if module.NEEDS_ARGUMENT and not argument:
        msg = f"the sink `{name}` needs an argument: give {SINKS[name].usage}"
        raise ConfigError(msg)

    def opener(rate_hz: float | None, *, live: bool = False) -> Sink:
        sink: Sink = module.open_sink(argument, rate_hz, live=live)
        return sink

    return opener

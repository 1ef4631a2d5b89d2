"""The table of sinks, and the opening of a sink from `NAME` or `NAME:ARGUMENT`."""

from __future__ import annotations

from importlib import import_module

from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.sinks.sink import Opener, Sink

SINKS = {
    "jsonl": "orilla.runtime.sinks.jsonl",
    "video": "orilla.runtime.sinks.video",
    "window": "orilla.runtime.sinks.window",
}
"""Name of a sink to its module, whose `open_sink(argument, rate_hz, live)` creates it."""


def sink_opener(spec: str) -> Opener:
    """Parse `NAME` or `NAME:ARGUMENT` and return the function that opens the sink. Raises `ConfigError`."""
    name, _, argument = spec.partition(":")
    if name not in SINKS:
        raise unknown_name(name, SINKS, kind="sink")
    module = import_module(SINKS[name])
    if module.NEEDS_ARGUMENT and not argument:
        msg = f"sink {name} needs a file: {name}:OUT.mp4"
        raise ConfigError(msg)

    def opener(rate_hz: float | None, *, live: bool = False) -> Sink:
        sink: Sink = module.open_sink(argument, rate_hz, live=live)
        return sink

    return opener

"""The table of sinks, and the function that finds a sink by its specification."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from orilla.devices.errors import ConfigError
from orilla.devices.plugins import ModuleRegistry, Modules

if TYPE_CHECKING:
    from orilla.runtime.sinks.sink import Setup, Sink


class SinkKind(NamedTuple):
    """A kind of sink, with the form of its specification and the module that opens it."""

    usage: str
    """Specification that the user types, for help and messages. The part in `[...]` is optional."""
    module: str
    """Name of the sink's module in the folder `sinks`, or full name of a plug-in's module. The module defines

    - `open_sink(target, options, setup)`, which returns a `Sink`
    - `Options`, the `msgspec.Struct` with the options that follow the `?`; `NoOptions` if there are none
    - `NEEDS_TARGET`, True if the sink needs the part after the colon

    and may define

    - `REOPENS = True`, if the sink is reopened after a failure, as for a server
    - `PER_SOURCE = True`, if each source needs its own output, as for a video
    - `MAIN_THREAD = True`, if its methods must be called in the main thread, as for a window
    """


BUILT_IN = {
    "jsonl": SinkKind("jsonl[:FILE]", "jsonl"),
    "text": SinkKind("text", "text"),
    "csv": SinkKind("csv:FILE", "csv_file"),
    "video": SinkKind("video:OUT.mp4 (or .mkv, .avi, .webm)", "video"),
    "clip": SinkKind("clip:OUT.mp4 (or .mkv, .avi, .webm)", "clip"),
    "frames": SinkKind("frames:FOLDER", "frames"),
    "exec": SinkKind("exec:COMMAND", "exec"),
    "mcap": SinkKind("mcap:FILE", "mcap"),
    "mqtt": SinkKind("mqtt:HOST[:PORT]/TOPIC", "mqtt"),
    "mavlink": SinkKind("mavlink:udpout:HOST:PORT (or tcp:HOST:PORT, /dev/DEVICE)", "mavlink"),
    "metrics": SinkKind("metrics[:[HOST:]PORT]", "metrics"),
    "shm": SinkKind("shm:NAME", "shm"),
    "web": SinkKind("web[:[HOST:]PORT]", "web"),
    "ros2": SinkKind("ros2:TOPIC", "ros2"),
    "window": SinkKind("window", "window"),
    "none": SinkKind("none", "none"),
}
"""Kinds of sinks that are part of Orilla."""

SINKS = ModuleRegistry(
    "sink", "orilla.sinks", BUILT_IN, Modules(("open_sink", "Options", "NEEDS_TARGET"), "orilla.runtime.sinks")
)
"""Kinds of sinks by name. Packages add sinks in the group `orilla.sinks`."""


@dataclass(frozen=True, slots=True)
class SinkOpener:
    """A sink that has a valid specification, but has not been opened yet."""

    spec: str
    """Specification that the user gave."""
    target: str
    """Part after the colon, without the options."""
    open: Callable[[Setup], Sink]
    """Function that opens the sink. It raises `ConfigError` or `OutputError`."""
    reopens: bool = False
    """True if the sink is reopened after a failure."""
    main_thread: bool = False
    """True if the sink's methods must be called in the main thread."""
    per_source: bool = False
    """True if each source needs its own output."""
    source: str | None = None
    """Name of the source whose ticks the sink receives. If None, it receives the ticks of all sources."""


def sink_opener(spec: str) -> SinkOpener:
    """Parse a specification and find its sink.

    Raises:
        ConfigError: The sink or an option is unknown, or the target is missing.
    """
    from orilla.runtime.sinks.options import convert_options, parse_spec

    parts = parse_spec(spec)
    module = SINKS.module(parts.name)
    options = convert_options(parts, module.Options)
    if module.NEEDS_TARGET and not parts.target:
        msg = f"the sink `{parts.name}` needs a target: give {SINKS[parts.name].usage}"
        raise ConfigError(msg)
    return SinkOpener(
        spec,
        parts.target,
        lambda setup: module.open_sink(parts.target, options, setup),
        reopens=getattr(module, "REOPENS", False),
        main_thread=getattr(module, "MAIN_THREAD", False),
        per_source=getattr(module, "PER_SOURCE", False),
    )

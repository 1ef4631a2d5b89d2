"""The grammar of `--sink`: `NAME`, `NAME:TARGET`, or `NAME:TARGET?key=value&key=value`."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import msgspec

from orilla.devices import options as grammar
from orilla.devices.options import ByteCount as ByteCount
from orilla.devices.options import Duration as Duration

T = TypeVar("T", bound=msgspec.Struct)


class NoOptions(msgspec.Struct, frozen=True):
    """Options class of a sink without options."""


class SinkSpec(NamedTuple):
    """The parts of a sink's specification."""

    name: str
    target: str
    options: dict[str, str]


def parse_spec(spec: str) -> SinkSpec:
    """Split a specification into its name, target and options.

    The options begin at the last `?`, so a target can contain one.

    Raises:
        ConfigError: An option is given twice, or has no name.
    """
    name, _, rest = spec.partition(":")
    target, mark, query = rest.rpartition("?")
    if not mark:
        name, _, query = (*name.partition("?"),) if not rest else (name, "", "")
        target = rest
    return SinkSpec(name, target, grammar.parse_query(query, f"sink `{spec}`"))


def convert_options(spec: SinkSpec, options: type[T]) -> T:
    """Convert the options of a specification, as `orilla.devices.options.convert_options` does.

    Raises:
        ConfigError: An option is unknown, or has a wrong value. The message lists the known options.
    """
    return grammar.convert_options(spec.options, options, "sink", spec.name, _converted)


def _converted(text: str, kind: Any) -> Any:
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error

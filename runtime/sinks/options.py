"""The grammar of `--sink`: `NAME`, `NAME:TARGET`, or `NAME:TARGET?key=value&key=value`."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeVar, get_args, get_type_hints

import msgspec

from orilla.devices.errors import ConfigError, unknown_name

T = TypeVar("T", bound=msgspec.Struct)

UNITS = {
    "": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
SECONDS = {"": 1.0, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}

YES, NO = ("yes", "true", "1", ""), ("no", "false", "0")
"""Accepted values of a Boolean option. `?append` is the same as `?append=yes`."""


class ByteCount(int):
    """A number of bytes, which the user may write as in `20GB` or `512MiB`."""

    @classmethod
    def parse(cls, text: str) -> ByteCount:
        """Convert text into a number of bytes. Raise `ValueError` if the text is not a size."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([A-Za-z]*)", text)
        unit = found[2].upper() if found else None
        unit = f"{unit}B" if unit in ("K", "M", "G", "T") else "" if unit == "B" else unit
        if found is None or unit not in UNITS or float(found[1]) <= 0:
            msg = "expected a size such as 500MB or 2GiB"
            raise ValueError(msg)
        return cls(float(found[1]) * UNITS[unit])


class Duration(float):
    """A duration in seconds, which the user may write as in `60s`, `5m`, `1h` or `1d`."""

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Convert text into seconds. Raise `ValueError` if the text is not a duration."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]*)", text)
        if found is None or found[2] not in SECONDS or float(found[1]) <= 0:
            msg = "expected a duration such as 60s, 5m or 1h"
            raise ValueError(msg)
        return cls(float(found[1]) * SECONDS[found[2]])


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
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if not key or key in options:
            msg = f"sink `{spec}`: {f'the option {key} is given twice' if key else f'{part} has no name'}"
            raise ConfigError(msg)
        options[key] = value
    return SinkSpec(name, target, options)


def convert_options(spec: SinkSpec, options: type[T]) -> T:
    """Convert the options of a specification.

    Args:
        spec: The parts of the specification.
        options: Class of the sink's options. Its fields may have the types `str`, `int`, `float`, `bool`, a `Literal`
            of
            strings, `ByteCount` and `Duration`, or the union of one of these with None.

    Raises:
        ConfigError: An option is unknown, or has a wrong value. The message lists the known options.
    """
    hints = get_type_hints(options)
    values: dict[str, Any] = {}
    for key, text in spec.options.items():
        if key not in hints:
            raise unknown_name(key, hints, kind=f"option of the sink {spec.name}")
        try:
            values[key] = _converted(text, hints[key])
        except (ValueError, msgspec.ValidationError) as error:
            reason = str(error).partition(" - at ")[0]
            msg = f"sink `{spec.name}`: {key}={text}: {reason[0].lower()}{reason[1:]}"
            raise ConfigError(msg) from error
    try:
        return options(**values)
    except (TypeError, ValueError) as error:
        msg = f"sink `{spec.name}`: {error}"
        raise ConfigError(msg) from error


def _converted(text: str, kind: Any) -> Any:
    choices = [choice for choice in get_args(kind) or (kind,) if choice is not type(None)]
    if isinstance(choices[0], str):
        if text not in choices:
            msg = f"expected {', '.join(choices[:-1])} or {choices[-1]}"
            raise ValueError(msg)
        return text
    for custom in (ByteCount, Duration):
        if custom in choices:
            return custom.parse(text)
    if choices == [bool]:
        if text.lower() not in (*YES, *NO):
            msg = "expected yes or no"
            raise ValueError(msg)
        return text.lower() in YES
    return msgspec.convert(text, kind, strict=False)

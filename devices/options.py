"""The grammar of sink and source options: `key=value&key=value` after a question mark."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable

from orilla.devices.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from typing_extensions import Self

T = TypeVar("T")

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


@runtime_checkable
class TextValue(Protocol):
    """A type of option values that parses the user's text itself."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Convert text into a value.

        If this is impossible, raise `ValueError` with a description of the expected form.
        """


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


def parse_query(query: str, what: str) -> dict[str, str]:
    """Split `key=value&key=value` into options.

    Args:
        query: The part of a specification after the question mark.
        what: What the options belong to, for messages, such as "sink `csv:out.csv?append`".

    Raises:
        ConfigError: An option is given twice, or has no name.
    """
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if not key or key in options:
            msg = f"{what}: {f'the option {key} is given twice' if key else f'{part} has no name'}"
            raise ConfigError(msg)
        options[key] = value
    return options


def number(text: str, kind: Any) -> Any:
    """Convert text into a number of the type `kind`. Raise `ValueError` if the text is not a number."""
    del kind
    try:
        return float(text)
    except ValueError as error:
        msg = "expected a number"
        raise ValueError(msg) from error


def convert_options(
    values: Mapping[str, str], options: type[T], kind: str, name: str, convert: Callable[[str, Any], Any] = number
) -> T:
    """Convert options from text.

    Args:
        values: The options by name, as `parse_query` returns them.
        options: Class of the options. The type of a field may be `bool`, a `Literal` of strings, a number or
            `Literal["auto"]`, a `TextValue`, or a type that `convert` accepts. Each of them may also allow None.
        kind: Kind of the object to which the options belong, such as `sink`, for messages.
        name: Name of the object.
        convert: Function that converts text into the type of the option, or raises `ValueError`.

    Raises:
        ConfigError: An option is unknown, or has a wrong value. The message lists the known options.
    """
    hints = get_type_hints(options)
    converted: dict[str, Any] = {}
    for key, text in values.items():
        if key not in hints:
            raise unknown_name(key, hints, kind=f"option of the {kind} {name}")
        try:
            converted[key] = _converted(text, hints[key], convert)
        except ValueError as error:
            reason = str(error).partition(" - at ")[0]
            msg = f"{kind} `{name}`: {key}={text}: {reason[0].lower()}{reason[1:]}"
            raise ConfigError(msg) from error
    try:
        return options(**converted)
    except (TypeError, ValueError) as error:
        msg = f"{kind} `{name}`: {error}"
        raise ConfigError(msg) from error


def _converted(text: str, kind: Any, convert: Callable[[str, Any], Any]) -> Any:
    choices = [choice for choice in get_args(kind) or (kind,) if choice is not type(None)]
    if isinstance(choices[0], str):  # A `Literal` of strings.
        if text not in choices:
            msg = f"expected {', '.join(choices[:-1])} or {choices[-1]}"
            raise ValueError(msg)
        return text
    for custom in choices:
        if isinstance(custom, type) and issubclass(custom, TextValue):
            return custom.parse(text)
    if Literal["auto"] in choices and text == "auto":
        return text
    if choices == [bool]:
        if text.lower() not in (*YES, *NO):
            msg = "expected yes or no"
            raise ValueError(msg)
        return text.lower() in YES
    return convert(text, kind)

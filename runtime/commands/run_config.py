"""The configuration file of `orilla run`: a TOML file whose keys are the options of the command."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError
from orilla.devices.tables import TOP, Tables
from orilla.runtime.argument_parser import CommandParser

SUFFIX = ".toml"

NAMED = ("source", "policy", "count-line", "zone")
"""Options that take `NAME=VALUE`. In the file, their values may be given as a table."""

HIDDEN = ("help", "json", "print_config", "dry_run")
"""Options that a configuration file cannot contain."""


def _parse_policy(text: str) -> None:
    """Raise `ConfigError` if a policy, with or without the name of a source, is unknown."""
    from orilla.runtime.commands.run_sources import NAMED as WITH_NAME
    from orilla.runtime.loop.policy import Policy

    found = WITH_NAME.fullmatch(text)
    Policy.parse(text if found is None else found[2])


def _parse_sink(text: str) -> None:
    """Raise `ConfigError` if a sink or one of its options is unknown."""
    from orilla.runtime.sinks.registry import sink_opener

    sink_opener(text)


PARSED: dict[str, Callable[[str], None]] = {"policy": _parse_policy, "sink": _parse_sink}
"""Functions that check the values of keys that the command-line parser accepts unchecked."""

AddArguments = Callable[[argparse.ArgumentParser], None]


def expand(words: list[str], add_arguments: AddArguments) -> list[str]:
    """Replace the configuration file in a command line with the equivalent arguments.

    An option on the command line replaces the option in the file.

    Args:
        words: Arguments after `orilla run`.
        add_arguments: Function that declares the options.

    Raises:
        ConfigError: The file cannot be read, or contains an unknown key or an invalid value. The message states the
            line.
    """
    if not any(word.endswith(SUFFIX) for word in words):
        return words
    parser = _parser(add_arguments)
    given = vars(parser.parse_args(words))
    bundles: list[str] = given["bundle"]
    if len(bundles) != 1 or not bundles[0].endswith(SUFFIX):
        return words
    place = words.index(bundles[0])
    others = words[:place] + words[place + 1 :]
    tables = Tables.read(Path(bundles[0]))
    options = {action.dest: action for action in parser._actions if action.dest not in HIDDEN}  # noqa: SLF001
    problems = tables.problems()
    with problems.collected():
        tables.check(TOP, tables.content, {_key(action) for action in options.values()})
    with problems.collected():
        if not tables.content.get("bundle"):
            msg = f'{bundles[0]} has no key `bundle`: add one, as in bundle = "road"'
            raise ConfigError(msg)
    before: list[str] = []
    for action in options.values():
        key = _key(action)
        if key in tables.content and (action.dest == "bundle" or action.dest not in given):
            with problems.collected():
                before += _words(tables, key, action)
    problems.raise_all()
    parser.parse_args([*before, *others])  # The bundle is positional, so only the whole command line can be parsed.
    return [*before, *others]


def to_toml(arguments: argparse.Namespace, add_arguments: AddArguments) -> str:
    """Return the options of a command line as a configuration file. Options with default values are omitted."""
    lines, tables = [], []
    for action in _parser(add_arguments)._actions:  # noqa: SLF001
        value = vars(arguments).get(action.dest)
        if action.dest in HIDDEN or value in (None, False, []):
            continue
        named = dict(part.partition("=")[::2] for part in value) if _key(action) in NAMED else {}
        if named and all(named.values()):
            rows = [f"{json.dumps(name)} = {_value(text)}" for name, text in named.items()]
            tables += ["", f"[{_key(action)}]", *rows]
        else:
            single = value[0] if isinstance(value, list) and len(value) == 1 else value
            lines.append(f"{_key(action)} = {_value(single)}")
    return "\n".join([*lines, *tables]) + "\n"


def _parser(add_arguments: AddArguments) -> CommandParser:
    """Return a parser whose result contains only the options that were given."""
    parser = CommandParser(prog="orilla run", argument_default=argparse.SUPPRESS)
    add_arguments(parser)
    parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS)
    return parser


def _key(action: argparse.Action) -> str:
    """Return the key of an option: its flag without the dashes."""
    return action.option_strings[0].lstrip("-") if action.option_strings else action.dest


def _words(tables: Tables, key: str, action: argparse.Action) -> list[str]:
    """Return the command-line arguments for one key of the file."""
    value = tables.content[key]
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise tables.error(TOP, key, f"{key} must be true or false")
        return list(action.option_strings[:1]) if value else []
    if isinstance(value, Mapping):
        if key not in NAMED or not all(_is_plain(item) or isinstance(item, list) for item in value.values()):
            raise tables.error(TOP, key, f"{key} must not contain tables" if key in NAMED else f"{key} is a table")
        value = [f"{name}={_text(item)}" for name, item in value.items()]
    values = value if isinstance(value, list) else [value]
    if not all(_is_plain(item) for item in values):
        raise tables.error(TOP, key, f"{key} must be a string, a number, or a list of these")
    repeats = action.option_strings == [] or isinstance(action, argparse._AppendAction)  # noqa: SLF001
    if len(values) > 1 and not repeats:
        raise tables.error(TOP, key, f"{key} must be a single value")
    flag = action.option_strings[:1]
    words = [f"{flag[0]}={_text(item)}" if flag else _text(item) for item in values]
    _check(tables, key, action, [_text(item) for item in values])
    return words


def _check(tables: Tables, key: str, action: argparse.Action, texts: list[str]) -> None:
    """Raise `ConfigError` if a value does not have the type of the option, or is not one of its choices.

    The message states the line of the key.
    """
    for text in texts:
        try:
            value = action.type(text) if callable(action.type) else text
        except (TypeError, ValueError) as error:
            kind = {int: "a whole number", float: "a number"}.get(action.type, "another value")  # type: ignore[call-overload]
            raise tables.error(TOP, key, f"{key} = {text}: expected {kind}") from error
        if action.choices is not None and value not in action.choices:
            raise tables.error(TOP, key, f"{key} = {text}: choose from {', '.join(map(str, action.choices))}")
        if key in PARSED:
            try:
                PARSED[key](text)
            except ConfigError as error:
                raise tables.error(TOP, key, str(error)) from error


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    """Return a value as a command-line argument. A list of numbers becomes `1,2,3`."""
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def _value(value: Any) -> str:
    """Return a string, a number, a Boolean or a list in the syntax of TOML.

    For these types, TOML and JSON have the same syntax.
    """
    return json.dumps(value, ensure_ascii=False)

"""The argument parser of the commands. In messages, it replaces the library's parameter names with flags."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from orilla.devices.errors import ConfigError, nearest, unknown_name

NEGATIVE = re.compile(r"-(\.?\d|inf\b|nan\b)", re.IGNORECASE)
"""Pattern for the start of a value that begins with a negative number, such as `-1..1`, `-.5` or `-inf`."""


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Wraps the help between words, and never at the hyphens of options or inside names.

    Long examples continue in the next line after a backslash, so that they can be copied.
    """

    def _split_lines(self, text: str, width: int) -> list[str]:
        from textwrap import wrap  # Import the module only here, because only --help needs it.

        return wrap(" ".join(text.split()), width, break_long_words=False, break_on_hyphens=False)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + part for line in text.splitlines() for part in _filled(line, width - len(indent)))


def _filled(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    from textwrap import wrap

    is_example = line.startswith(" ")
    start = line[: len(line) - len(line.lstrip())]
    parts = wrap(
        line.strip(),
        width - 2 * is_example,
        initial_indent=start,
        subsequent_indent=start + "    " * is_example,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [part + " \\" for part in parts[:-1]] + parts[-1:] if is_example else parts


def indented(name: str, text: str, indent: int) -> str:
    """Return a line of help: a name, and next to it a text that is wrapped to the width of the terminal.

    Args:
        name: The name.
        text: The text.
        indent: Length of the longest name in the list.
    """
    from shutil import get_terminal_size
    from textwrap import fill

    start = f"  {name:<{indent}}  "
    return fill(
        text,
        max(get_terminal_size().columns, 20 + len(start)),
        initial_indent=start,
        subsequent_indent=" " * len(start),
    )


class CommandParser(argparse.ArgumentParser):
    """A parser that reports an error on one line, and replaces parameter names in messages with flags.

    The library's messages write a parameter as in Python: in backticks, or with its value. On the command line,
    `` `hold_out` `` becomes `--hold-out`, `hold_out=none` becomes `--hold-out none`, `skip_corrupt=True` becomes
    `--skip-corrupt`, and `augment=False` becomes `--no-augment`.
    """

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` for invalid arguments."""
        msg = f"{message}; run `{self.prog} --help` for the options"
        raise ConfigError(msg)

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse all arguments. Raise `ConfigError` for an unknown option, and suggest the most similar one."""
        namespace, unknown = self.parse_known_args(args, namespace)
        if unknown:
            known = [flag for flags in self.flags().values() for flag in flags]
            near = nearest(unknown[0].partition("=")[0], known) if unknown[0].startswith("-") else None
            hint = f": did you mean {near}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return namespace

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else action.metavar or action.dest
            kind = f"value of {name}" if action.option_strings else str(name).lower()
            kind = "action" if "|" in kind else kind
            self.error(str(unknown_name(str(value), map(str, action.choices), kind=kind)))

    def parse_known_args(  # type: ignore[override] # the overloads of argparse differ by the type of `namespace` only
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse arguments. A number, range or list that begins with a minus may follow its flag, as in `--range -1..1`.

        argparse would read `-1..1` and `-.5,0` as options, so such a value is joined to the flag before it.
        """
        joined: list[str] = []
        for argument in sys.argv[1:] if args is None else args:
            if NEGATIVE.match(argument) and joined and re.fullmatch(r"--[^=]+", joined[-1]):
                joined[-1] += f"={argument}"
            else:
                joined.append(argument)
        return super().parse_known_args(joined, namespace)

    def flags(self) -> dict[str, list[str]]:
        """Return the flags of each parameter, including those of subcommands."""
        flags: dict[str, list[str]] = {}
        for action in self._actions:
            # The `choices` of the subcommands are a dictionary with their parsers.
            if isinstance(action.choices, dict):
                for parser in action.choices.values():
                    flags |= parser.flags()
            elif action.option_strings:
                flags.setdefault(action.dest, []).extend(flag for flag in action.option_strings if len(flag) > 2)
        return flags

    def with_flags(self, message: str) -> str:
        """Return a message of the library with flags in place of parameter names."""
        flags = self.flags()
        names = "|".join(sorted(flags, key=len, reverse=True))
        # A name inside a path, as in `data/hold_out=1/a.png`, is not a parameter.
        pattern = rf"`(?P<bare>{names})`|(?<![\w/.-])(?P<name>{names})=(?P<value>[^\s,;:)]*)"
        return re.sub(pattern, lambda match: _flag(flags[match["bare"] or match["name"]], match["value"]), message)


def _flag(flags: list[str], value: str | None) -> str:
    """Return the flag that sets a parameter, followed by the value if the flag takes one.

    For the value False, prefer the flag that starts with `--no-`.
    """
    if value == "False":
        return next((flag for flag in flags if flag.startswith("--no-")), flags[0])
    return flags[0] if value in (None, "True") else f"{flags[0]} {value}"

"""The argument parser of the commands. In messages, it replaces the library's parameter names with flags."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from orilla.devices.errors import ConfigError

NEGATIVE = re.compile(r"-(\.?\d|inf\b|nan\b)", re.IGNORECASE)
"""Pattern for the start of a value that begins with a negative number, such as `-1..1`, `-.5` or `-inf`."""


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

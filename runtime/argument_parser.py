"""The argument parser of the commands, which names the library's parameters by their flags."""

from __future__ import annotations

import argparse
import re
from typing import NoReturn

from orilla.devices.errors import ConfigError


class CommandParser(argparse.ArgumentParser):
    """Parser that reports an error in one line, and translates the parameters in the library's messages into flags.

    The library's messages name a parameter as Python spells it: in backticks, or with its value. On the command line,
    `` `hold_out` `` becomes `--hold-out`, `hold_out=none` becomes `--hold-out none`, `skip_corrupt=True` becomes
    `--skip-corrupt`, and `augment=False` becomes `--no-augment`.
    """

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigError` for invalid arguments."""
        msg = f"{message}; {self.prog} --help shows the options"
        raise ConfigError(msg)

    def flags(self) -> dict[str, list[str]]:
        """Return the flags of each parameter, those of the subcommands included."""
        flags: dict[str, list[str]] = {}
        for action in self._actions:
            if isinstance(action.choices, dict):  # The subcommands, by their names.
                for parser in action.choices.values():
                    flags |= parser.flags()
            elif action.option_strings:
                flags.setdefault(action.dest, []).extend(flag for flag in action.option_strings if len(flag) > 2)
        return flags

    def with_flags(self, message: str) -> str:
        """Return a message of the library in which the parameters appear as flags."""
        flags = self.flags()
        names = "|".join(sorted(flags, key=len, reverse=True))
        # A name inside a path, as in `data/hold_out=1/a.png`, is no parameter.
        pattern = rf"`(?P<bare>{names})`|(?<![\w/.-])(?P<name>{names})=(?P<value>[^\s,;:)]*)"
        return re.sub(pattern, lambda match: _flag(flags[match["bare"] or match["name"]], match["value"]), message)


def _flag(flags: list[str], value: str | None) -> str:
    """Return one of a parameter's flags, with the value behind it if it takes one."""
    if value == "False":
        return next((flag for flag in flags if flag.startswith("--no-")), flags[0])
    return flags[0] if value in (None, "True") else f"{flags[0]} {value}"

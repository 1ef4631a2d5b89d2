"""A row of the table of commands, and what the module of a command contains."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    import argparse

    from orilla.runtime.commands.result import CommandResult


class CommandModule(Protocol):
    """The module of a subcommand, which has these functions."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    def execute(self, arguments: argparse.Namespace) -> CommandResult:
        """Run the command and return its result. Raise `OrillaError` if it fails."""


@runtime_checkable
class ExpandsWords(Protocol):
    """Module of a subcommand that replaces a configuration file with the equivalent command-line arguments."""

    def expand(self, words: list[str]) -> list[str]:
        """Return the command-line arguments. Raise `ConfigError` if the file cannot be used."""


class Command(NamedTuple):
    """A row in the table of subcommands."""

    module: str
    """Name of the subcommand's module, which is a `CommandModule`."""
    about: str
    examples: tuple[str, ...]
    """Commands that `--help` shows."""
    extra: str | None = None
    """Name of the extra that installs the command's packages. None if the base installation includes them."""

"""The result of a command: an exit code, a JSON document, and text for a terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole


class CommandResult(ABC):
    """The result of a command. A subclass is a dataclass whose fields are the keys of the JSON document."""

    __slots__ = ()

    to_stderr: ClassVar[bool] = False
    """True if `render` prints to standard error, because standard output carries other data."""

    optional: ClassVar[tuple[str, ...]] = ()
    """Fields that the JSON document omits if they are None."""

    hidden: ClassVar[tuple[str, ...]] = ()
    """Fields that only `render` uses, and that the JSON document omits."""

    @property
    def exit_code(self) -> int:
        """Return 0 for success, 1 for a negative verdict, and 130 for an interrupted command."""
        return 0

    def to_json(self) -> dict[str, object]:
        """Return the JSON document, as docs/json.md describes it."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return {
            name: value
            for name, value in document.items()
            if name not in self.hidden and not (value is None and name in self.optional)
        }

    @abstractmethod
    def render(self, console: ResultConsole) -> None:
        """Print the result for people."""

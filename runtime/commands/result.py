"""The result of a command: an exit code, a JSON document, and text for a terminal."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole


class CommandResult(ABC):
    """The result of a command. A subclass is a dataclass whose fields are the keys of the JSON document.

    `orilla --schema` describes the document by the types of the fields. If a subclass replaces `to_json`, the schema
    describes the return type of its `to_json`.
    """

    __slots__ = ()

    to_stderr: ClassVar[bool] = False
    """True if `render` prints to standard error, because standard output carries other data."""

    optional: ClassVar[tuple[str, ...]] = ()
    """Fields that the JSON document omits if they are None."""

    hidden: ClassVar[tuple[str, ...]] = ()
    """Fields that only `render` uses, and that the JSON document omits."""

    inlined: ClassVar[str | None] = None
    """Name of a field whose own fields become keys of the JSON document. None if there is no such field."""

    constants: ClassVar[Mapping[str, str]] = {}
    """Keys with a constant value, which distinguish the results of a command. They are first in the JSON document."""

    @property
    def exit_code(self) -> int:
        """Return 0 for success, 1 for a negative verdict, and 130 for an interrupted command."""
        return 0

    def to_json(self) -> Mapping[str, object]:
        """Return the JSON document, as docs/json.md describes it."""
        document: dict[str, object] = dict(self.constants)
        for field in fields(self):  # type: ignore[arg-type]
            name, value = field.name, getattr(self, field.name)
            if name == self.inlined:
                document |= {key: getattr(value, key) for key in value.__struct_fields__}
            elif name not in self.hidden and not (value is None and name in self.optional):
                document[name] = value
        return document

    @abstractmethod
    def render(self, console: ResultConsole) -> None:
        """Print the result for people."""

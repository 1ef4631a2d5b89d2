"""Read TOML files and check their keys. Errors state the line number."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orilla.devices import toml
from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.gate import only_our_errors
from orilla.devices.text_files import lines_of, read_text

TOP = ""
"""Name of the section of a file above its first table."""

CHOICES = re.compile(r"\? Choose from [^;]*")
"""Pattern of the list of choices in a message that suggests a similar name."""

HEADER = re.compile(r"^\s*\[+\s*(.+?)\s*\]+\s*(#.*)?$")
"""Pattern of a line that begins a table."""


class Problems:
    """The errors in a configuration file, which are raised together.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._found = path, list[ConfigError]()

    @contextmanager
    def collected(self) -> Iterator[None]:
        """Store a `ConfigError` of the block instead of raising it."""
        try:
            yield
        except _SeveralError as error:
            self._found += error.errors
        except ConfigError as error:
            self._found.append(error)

    def raise_all(self) -> None:
        """Raise one `ConfigError` for all stored errors. The message states the line of each."""
        if len(self._found) < 2:
            for error in self._found:
                raise error
            return
        texts = sorted({self._short(str(error)): None for error in self._found}, key=_line_of)
        msg = f"{self._path} has {len(texts)} errors: {'; '.join(_without_repeats(texts))}"
        raise _SeveralError(msg, self._found)

    def _short(self, text: str) -> str:
        """Return a message without the name of the file, and without a list of choices after a similar name."""
        text = CHOICES.sub("?", text)
        place = text.removeprefix(f"{self._path}:")
        return text.removeprefix(f"{self._path} ") if place == text else f"line {place.lstrip()}"


class _SeveralError(ConfigError):
    """Raised for several errors in one file."""

    def __init__(self, message: str, errors: list[ConfigError]) -> None:
        super().__init__(message)
        self.errors = errors


def _without_repeats(texts: list[str]) -> Iterator[str]:
    """Yield messages. Omit a list of choices that an earlier message contains."""
    seen = set()
    for text in texts:
        start, mark, choices = text.partition(": choose from ")
        yield start if choices in seen else text
        seen.add(choices if mark else None)


def _line_of(text: str) -> int:
    found = re.match(r"line (\d+):", text)
    return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Tables:
    """The content of a TOML file, and its text, which is used to find the line numbers of errors."""

    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Tables:
        """Read a file. Raise `ConfigError` if it is absent or not valid TOML."""
        text = read_text(path, error=ConfigError).replace("\r\n", "\n").replace("\r", "\n")
        with only_our_errors(path, ConfigError):
            try:
                return cls(path, text, toml.loads(text))
            except toml.TOMLDecodeError as error:
                msg = f"{path}: {error}"
                raise ConfigError(msg) from error

    def error(self, table: str, key: str, problem: str, index: int = 0) -> ConfigError:
        """Return an error whose message states the file, the line number of a key, and the problem.

        Args:
            table: Name of the table. An empty name means the top of the file.
            key: The key.
            problem: The text that follows the line number.
            index: Position of the table among the tables of the same name.
        """
        return ConfigError(f"{self.path}:{self._line(table, key, index)}: {problem}")

    def check(self, table: str, values: dict[str, Any], known: Collection[str], index: int = 0) -> None:
        """Raise `ConfigError` if the table contains unknown keys. The message names all of them."""
        problems = self.problems()
        for key in values:
            with problems.collected():
                if key not in known:
                    suffix = f" in [{table}]" if table else ""
                    raise self.error(table, key, f"{unknown_name(key, known, kind='key')}{suffix}", index)
        problems.raise_all()

    def problems(self) -> Problems:
        """Return a collector of errors, which raises all of them together."""
        return Problems(self.path)

    def named_tables(self, key: str) -> dict[str, dict[str, Any]]:
        """Return the tables `[key.NAME]` by name. Raise `ConfigError` if `key` contains anything else."""
        tables = self.content.get(key, {})
        if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
            problem = f"{key} must contain tables: [{key}.NAME]"
            raise self.error(TOP, key, problem)
        return {name: dict(table) for name, table in tables.items()}

    def listed_tables(self, key: str) -> list[dict[str, Any]]:
        """Return the tables `[[key]]` in order. Raise `ConfigError` if `key` is not a list of tables."""
        tables = self.content.get(key, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            problem = f"{key} must be a list of tables: [[{key}]]"
            raise self.error(TOP, key, problem)
        return [dict(table) for table in tables]

    def _line(self, table: str, key: str, index: int) -> int:
        """Return the line number of a key, or of the table's first line if the key is not found."""
        assignment = re.compile(rf"(^|[{{,\s])[\"']?{re.escape(key)}[\"']?\s*=")
        is_inside, table_line, seen = table == TOP, 1, -1
        for number, line in enumerate(lines_of(self.text), 1):
            if (header := HEADER.match(line)) is not None:
                name = re.sub(r"[\"']", "", header[1])
                seen += name == table
                is_inside = name == table and seen == index
                table_line = number if is_inside else table_line
                if table == TOP and name.split(".")[0] == key:
                    return number
            elif is_inside and key and assignment.search(line):
                return number
        return table_line

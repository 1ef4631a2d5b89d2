"""TOML files whose tables are checked to the last key, with errors that name the line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError, unknown_name


@dataclass(frozen=True, slots=True)
class Tables:
    """A file that has been read."""

    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Tables:
        """Raises `ConfigError` for what is not there, or is no TOML."""
        try:
            text = path.read_text()
            return cls(path, text, tomllib.loads(text))
        except (OSError, UnicodeDecodeError) as error:
            msg = f"cannot read {path}: {getattr(error, 'strerror', None) or error}"
            raise ConfigError(msg) from error
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            msg = f"{path}: {error}"
            raise ConfigError(msg) from error

    def error(self, table: str, key: str, what: str, place: int = 0) -> ConfigError:
        """An error at a key of a table; of several tables of that name, the one at `place`."""
        return ConfigError(f"{self.path}:{self._line(table, key, place)}: {what}")

    def check(self, table: str, found: dict[str, Any], known: Collection[str], place: int = 0) -> None:
        """Refuses a key that nothing reads."""
        for key in found:
            if key not in known:
                where = f" in [{table}]" if table else ""
                raise self.error(table, key, str(unknown_name("key", key, known)) + where, place)

    def tables(self, key: str) -> dict[str, dict[str, Any]]:
        """The tables `[key.NAME]`, by name."""
        value = self.content.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
            msg = ""
            raise self.error(msg, key, f"{key} holds tables: [{key}.NAME]")
        return {name: dict(one) for name, one in value.items()}

    def several(self, key: str) -> list[dict[str, Any]]:
        """The tables `[[key]]`, in their order."""
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            msg = ""
            raise self.error(msg, key, f"{key} is a list of tables: [[{key}]]")
        return [dict(one) for one in value]

    def _line(self, table: str, key: str, place: int) -> int:
        """Where a key stands; where its table begins, if the key is in none of its lines."""
        header = re.compile(r"^\s*\[+\s*(.+?)\s*\]+\s*(#.*)?$")
        wanted = re.compile(rf"(^|[{{,\s])[\"']?{re.escape(key)}[\"']?\s*=")
        inside, begin, seen = table == "", 1, -1
        for number, line in enumerate(self.text.splitlines(), 1):
            if (found := header.match(line)) is not None:
                name = re.sub(r"[\"']", "", found[1])
                seen += name == table
                inside = name == table and seen == place
                begin = number if inside else begin
                if table == "" and name.split(".")[0] == key:
                    return number
            elif inside and key and wanted.search(line):
                return number
        return begin

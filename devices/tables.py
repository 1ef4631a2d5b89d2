"""TOML files with strictly checked tables. Errors name the line."""

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
    """A TOML file that was read."""

    path: Path
    text: str
    content: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Tables:
        """Read a file. Raises `ConfigError` if it is absent or not valid TOML."""
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
        """Return an error for a key of a table. `place` selects among several tables of that name."""
        return ConfigError(f"{self.path}:{self._line(table, key, place)}: {what}")

    def check(self, table: str, found: dict[str, Any], known: Collection[str], place: int = 0) -> None:
        """Raise `ConfigError` for an unknown key."""
        for key in found:
            if key not in known:
                where = f" in [{table}]" if table else ""
                raise self.error(table, key, str(unknown_name(key, known, kind="key")) + where, place)

    def tables(self, key: str) -> dict[str, dict[str, Any]]:
        """Return the tables `[key.NAME]` by name."""
        value = self.content.get(key, {})
        if not isinstance(value, dict) or not all(isinstance(one, dict) for one in value.values()):
            msg = ""
            raise self.error(msg, key, f"{key} must hold tables: [{key}.NAME]")
        return {name: dict(one) for name, one in value.items()}

    def several(self, key: str) -> list[dict[str, Any]]:
        """Return the tables `[[key]]` in order."""
        value = self.content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            msg = ""
            raise self.error(msg, key, f"{key} must be a list of tables: [[{key}]]")
        return [dict(one) for one in value]

    def _line(self, table: str, key: str, place: int) -> int:
        """Return the line of a key, or the line of its table if the key is not found."""
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

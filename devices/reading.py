"""Read small files of `/proc` and `/sys`. They may be absent or unreadable, or contain NUL characters."""

from __future__ import annotations

from pathlib import Path


def read(path: Path) -> str:
    """Return the text of a file without NUL characters. The text is empty if the file cannot be read."""
    try:
        return path.read_text(errors="replace").replace("\0", "")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Return the decimal or `0x` hexadecimal integer in a file, or None if it does not contain an integer."""
    try:
        return int(read(path), 0)
    except ValueError:
        return None


def fields(text: str, key: str) -> list[str]:
    """Return the values of all lines `key: value`, in order."""
    values = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            values.append(value.strip())
    return values

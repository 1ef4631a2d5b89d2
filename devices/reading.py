"""Read small files of `/proc` and `/sys`, which may be absent, unreadable or end in a NUL."""

from __future__ import annotations

from pathlib import Path


def read(path: Path) -> str:
    """Return the text of a file without NULs. The text is empty if the file cannot be read."""
    try:
        return path.read_text(errors="replace").replace("\0", "")
    except OSError:
        return ""


def number(path: Path) -> int | None:
    """Return the integer in a file, decimal or hexadecimal with `0x`. None if there is none."""
    try:
        return int(read(path), 0)
    except ValueError:
        return None


def fields(text: str, key: str) -> list[str]:
    """Return the values of all lines `key: value`, in order."""
    found = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() == key:
            found.append(value.strip())
    return found

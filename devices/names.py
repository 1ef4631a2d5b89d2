"""File names and numbers as text."""

from __future__ import annotations


def readable(name: str) -> str:
    """Return a file name as printable text, in which invalid bytes are replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def whole_number(text: str) -> bool:
    """Return True if a string is a whole number of at most nine ASCII digits.

    `str.isdigit` would also accept superscripts.
    """
    return text.isascii() and text.isdecimal() and len(text) <= 9

"""Names and numbers that a user types."""

from __future__ import annotations


def readable(name: str) -> str:
    """Return a file name as text, even if its bytes are not valid text."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def whole_number(text: str) -> bool:
    """Return True if `text` is a whole number in plain digits. `str.isdigit` would accept superscripts."""
    return text.isascii() and text.isdecimal() and len(text) <= 9

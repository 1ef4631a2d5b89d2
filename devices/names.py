"""Names and numbers as a user types them."""

from __future__ import annotations


def readable(name: str) -> str:
    """The name of a file as text, also where its bytes are none."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


def whole_number(text: str) -> bool:
    """Whether `text` is a whole number in plain digits; `str.isdigit` would take superscripts too."""
    return text.isascii() and text.isdecimal() and len(text) <= 9

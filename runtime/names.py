"""Names and numbers as a user types them."""

from __future__ import annotations


def whole_number(text: str) -> bool:
    """Whether `text` is a whole number in plain digits; `str.isdigit` would take superscripts too."""
    return text.isascii() and text.isdecimal() and len(text) <= 9

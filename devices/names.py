"""File names and numbers as text."""

from __future__ import annotations

import re


def readable(name: str) -> str:
    """Return a file name as printable text, in which invalid bytes are replaced."""
    return name.encode(errors="surrogateescape").decode(errors="replace")


SECRETS = re.compile(
    r"(?P<user>://)[^\s\"'/?#]*(?:[^\s\"'?#]*)@"
    r"|(?P<key>[?&](?:[\w-]*(?:pass|pwd|token|secret|auth|user|usr|key)[\w-]*)=)[^&\s\"'#]+",
    re.IGNORECASE,
)
"""Pattern of the parts of an address that may be secret: user name and password, and such values in the query."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `1 frame`, `2 frames` or `3 classes`."""
    ending = "es" if noun.endswith(("s", "x", "ch")) else "s"
    return f"{count} {noun}" if count == 1 else f"{count} {noun}{ending}"


def without_secrets(text: str) -> str:
    """Replace the secret parts of addresses in a text with `...`, for results and messages."""
    return SECRETS.sub(lambda found: f"{found['user']}...@" if found["user"] else f"{found['key']}...", text)


def whole_number(text: str) -> bool:
    """Return True if a string is a whole number of at most nine ASCII digits.

    `str.isdigit` would also accept superscripts.
    """
    return text.isascii() and text.isdecimal() and len(text) <= 9

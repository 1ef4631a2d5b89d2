"""Text for a terminal, a file or a pipe."""

from __future__ import annotations

PIPE_WIDTH = 240
"""Width of tables in characters, where the output is a file or a pipe."""


def printable(text: str) -> str:
    """Return a text in which control characters are replaced with question marks."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)

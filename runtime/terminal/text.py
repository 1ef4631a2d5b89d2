"""Format text for a terminal, a file or a pipe."""

from __future__ import annotations

PIPE_WIDTH = 240
"""Width of tables in characters if the output is a file or a pipe."""


def printable(text: str) -> str:
    """Return the text with control characters replaced with question marks."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)

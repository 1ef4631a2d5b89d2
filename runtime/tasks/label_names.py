"""Name classes that a list of labels skips, and state the number of labels in messages."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAMED = 5
"""Maximum number of unnamed classes that a message lists."""


def unnamed(number: int) -> str:
    """Return a name for a class whose number, counted from 0, is missing in a list of numbered names."""
    return f"class {number}"


def count_of(labels: Sequence[str]) -> str:
    """Return a text for messages with the number of labels, such as `4 names`, and the numbers that the list skips."""
    gaps = [str(number) for number, label in enumerate(labels) if label == unnamed(number)]
    if not gaps or len(gaps) == len(labels):
        return f"{len(labels)} names"
    listed = ", ".join(gaps[:MAX_NAMED]) + (", ..." if len(gaps) > MAX_NAMED else "")
    return f"{len(labels)} names (numbers 0 to {len(labels) - 1}, without a name for {listed})"

"""Help texts that list plug-ins. They are created only when the help is printed, so that commands start quickly."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def lazy_help(action: argparse.Action, text: Callable[[], str]) -> None:
    """Set the help text of an option.

    The function `text`, which returns it, is called only when the help is printed.
    """
    action.help = "%(lazy_text)s"
    vars(action)["lazy_text"] = _LazyText(text)


class _LazyText:
    """An object whose string representation is the result of a function."""

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text()

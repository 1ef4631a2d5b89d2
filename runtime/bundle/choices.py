"""Choices about the preprocessing and the decoding, which the report of an export lists with their origins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Origin = Literal["model", "you", "default"]
"""Origin of a choice: the model or its training run, the user, or Orilla's default."""


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A choice about the preprocessing or the decoding.

    The check prepares samples for the original model and for the variants in the same way, so it cannot detect a wrong
    choice.
    """

    fact: str
    """Name of the chosen property, such as `input range`."""
    value: str
    """The chosen value in words, such as `0..1`."""
    origin: Origin


TITLES: dict[Origin, str] = {"default": "by default", "you": "stated by you", "model": "from the model"}
"""Heading for the choices of each origin, in the order of the report. The choices that need attention come first."""

INTRODUCTION = "not checked, because the original model gets the same samples as its variants:"


def choice_lines(choices: Sequence[Choice]) -> list[str]:
    """Return the choices as lines of text, one line for each origin."""
    lines = []
    for origin, title in TITLES.items():
        named = [f"{choice.fact}: {choice.value}" for choice in choices if choice.origin == origin]
        if named:
            lines.append(f"{title}: {'; '.join(named)}")
    return [INTRODUCTION, *(f"  {line}" for line in lines)] if lines else []

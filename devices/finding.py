"""A finding: one fact about a machine or an installation, and how to fix what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]
"""A warning costs time or accuracy of figures; with a failure something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact."""

    name: str
    level: Level
    detail: str
    fix: str | None = None
    """The command that fixes it, or advice where there is no such command."""

    @property
    def passed(self) -> bool:
        """Whether nothing is broken."""
        return self.level != "failure"

"""A finding: one fact about a machine or an installation, and how to fix a problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]
"""Severity. A warning costs time or accuracy of figures; after a failure, something does not work."""


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
        """Return True unless the finding is a failure."""
        return self.level != "failure"

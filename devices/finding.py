"""A finding: one fact about a machine or an installation, and how to fix a problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "failure"]
"""Severity. A warning means that something is slower or less accurate. A failure means that something does not work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about a machine or an installation."""

    name: str
    level: Level
    detail: str
    fix: str | None = None
    """The command that fixes the problem, or advice if there is no such command. None if there is no problem."""

    @property
    def passed(self) -> bool:
        """Return True unless the finding is a failure."""
        return self.level != "failure"

"""A finding: one fact about a machine or an installation, and how to mend what is wrong."""

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
    mend: str | None = None
    """The command that mends it, or what to do where there is none."""

    @property
    def passed(self) -> bool:
        """Whether nothing is broken."""
        return self.level != "failure"

"""Collect the facts that change the results but are not in a model file, so that one message asks for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from orilla.devices.errors import ConfigError


@dataclass
class Questions:
    """Facts that the user must state about one model.

    Args:
        name: Name of the model file for messages.
    """

    name: str
    _open: list[str] = field(default_factory=list)

    def ask(self, parameter: str, choices: str, guess: str, reason: str) -> None:
        """Ask for a parameter.

        Args:
            parameter: Name of the parameter.
            choices: The possible values.
            guess: The most probable value.
            reason: Why this value is the most probable.
        """
        self._open.append(f"`{parameter}` ({choices}; probably {guess}, because {reason})")

    @property
    def are_open(self) -> bool:
        """Return True if there are questions."""
        return bool(self._open)

    def require_answers(self) -> None:
        """Raise `ConfigError` with all questions if there are any."""
        if self._open:
            msg = f"{self.name} does not state everything that the import needs: set " + "; ".join(self._open)
            raise ConfigError(msg)

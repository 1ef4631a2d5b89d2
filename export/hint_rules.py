"""Reject facts that the user states about a model although they have no effect on it."""

from __future__ import annotations

from collections.abc import Mapping

from orilla.devices.errors import ConfigError
from orilla.export.model_hints import IMAGE_HINTS, ModelHints
from orilla.runtime.tasks.task import Task

TEXT = ("vocabulary", "vocabulary_start", "padding", "truncation")
"""Hints for models that take texts."""

KERAS = (*TEXT, "device")
"""Hints for Keras models only."""


def check_imported(hints: ModelHints, task: Task, takes: str, *, image: bool) -> None:
    """Raise `ConfigError` for hints that have no effect for an imported model. One message names all of them.

    Args:
        hints: Facts that the user states.
        task: Task of the model.
        takes: Description of the model's inputs for the message.
        image: True if the model takes images.
    """
    reasons = dict.fromkeys(KERAS, "only for Keras models, which `orilla export` reads")
    if not image:
        reasons |= dict.fromkeys((*IMAGE_HINTS, "layout"), f"only for image models, but this model takes {takes}")
    _refuse(hints, reasons | _of_task(hints, task))


def _of_task(hints: ModelHints, task: Task) -> dict[str, str]:
    """Return the hints that have no effect for a task, each with the reason."""
    reasons = {}
    if not task.needs_head:
        reasons["head"] = f"only for detectors, not for task={task.name}"
    if hints.labels is None and hints.vocabulary is None:
        reasons["encoding"] = "only for files with text, but none is given"
    return reasons


def _refuse(hints: ModelHints, reasons: Mapping[str, str]) -> None:
    stated: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if getattr(hints, name) not in (None, False):
            stated.setdefault(reason, []).append(f"`{name}`")
    if not stated:
        return
    parts = (f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {reason}" for reason, names in stated.items())
    count = sum(map(len, stated.values()))
    msg = f"{'; '.join(parts)}: leave {'it' if count == 1 else 'them'} out"
    raise ConfigError(msg)

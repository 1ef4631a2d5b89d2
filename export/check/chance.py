"""Warn if the original model is no better than a constant answer. A wrong preprocessing can cause this.

The check compares the variants with the original model on the same samples, so it passes even if both are useless.
"""

from __future__ import annotations

import numpy as np

from orilla.export.check.compare import Reference
from orilla.export.source_model import SourceModel
from orilla.runtime.tasks.metrics import HasChance, HasConfusion

SUSPECTS = ("input range", "colour", "vocabulary", "token numbers", "values of the arrays", "labels", "single output")
"""Choices that make a model useless if they are wrong, in the order in which the warning lists them."""

MIN_SAMPLES = 8
"""Minimum number of samples without labels for `constant_note`."""


def chance_warning(reference: Reference, source: SourceModel, data: str) -> str | None:
    """Return a warning with the probable causes if the original model is at chance level, or None.

    Without labels, the metrics compare the original model with itself, so None is returned.

    Args:
        reference: Outputs of the original model.
        source: The original model.
        data: Name of the validation data.
    """
    if reference.target.pseudo:
        return None
    metrics = reference.metrics_of(reference.outputs, range(len(reference.truths)))
    reason = metrics.chance() if isinstance(metrics, HasChance) else None
    if reason is None:
        return None
    chosen = {choice.fact: choice for choice in source.choices if choice.origin != "model"}
    suspects = [chosen[fact] for fact in SUSPECTS if fact in chosen]
    causes = [f"{choice.fact} {choice.value} ({choice.origin})" for choice in suspects] or ["the training of the model"]
    return f"the original model is at chance level: {reason}; check {', '.join(causes)}, and the labels of {data}"


def constant_note(reference: Reference) -> tuple[str, ...]:
    """Return a message if the original model predicts the same class for all samples without labels."""
    if not reference.target.pseudo or len(reference.truths) < MIN_SAMPLES:
        return ()
    metrics = reference.metrics_of(reference.outputs, range(len(reference.truths)))
    if not isinstance(metrics, HasConfusion):
        return ()
    predicted = np.flatnonzero(metrics.confusion().sum(axis=0))
    if len(predicted) != 1:
        return ()
    label = reference.target.labels[int(predicted[0])]
    return (
        f"the original model decides on {label} for all {len(reference.truths)} samples, so their agreement means "
        "little: use samples of several classes, and check the preprocessing",
    )

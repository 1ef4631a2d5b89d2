"""Metrics with confidence intervals, which tasks compute for training, the export check and verification."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.metrics.bootstrap import Interval


class Metrics(Protocol):
    """The metrics of a model on a set of samples."""

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return the metrics by name. The task's primary metric is among them."""

    def intervals(self) -> dict[str, Interval]:
        """Return 95 % bootstrap intervals of the metrics."""


@runtime_checkable
class HasChance(Protocol):
    """Metrics with a chance level: the metrics of a model that gives the same answer for all samples."""

    def chance(self) -> str | None:
        """Return a warning if the metrics are not better than those of a constant answer.

        Return None if they are better.
        """


@runtime_checkable
class HasConfusion(Protocol):
    """Metrics that include a confusion matrix."""

    def confusion(self) -> NDArray[np.int64]:
        """Return the number of samples by true class (row) and predicted class (column), `[C,C]`."""

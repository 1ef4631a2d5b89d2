"""Metrics of a model that outputs arrays. The outputs are compared with the expected values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals


class ArrayMetrics:
    """Metrics of a set of samples, computed from outputs and expected values.

    Args:
        outputs: Outputs, `[N,D]`.
        truths: Expected values, `[N,D]`.
    """

    def __init__(self, outputs: NDArray[np.float32], truths: NDArray[np.float32]) -> None:
        norms = np.linalg.norm(outputs, axis=1) * np.linalg.norm(truths, axis=1)
        products = np.sum(outputs * truths, axis=1)
        equal = np.all(outputs == truths, axis=1).astype(np.float64)
        self._cosines = np.divide(products, norms, out=equal, where=norms > 0)
        self._errors = np.abs(outputs - truths).mean(axis=1)

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return cosine similarity and mean absolute error, each as a mean over samples.

        Args:
            weights: How often each sample counts, `[N]`. If None, each counts once.
        """
        return {
            "cosine": float(np.average(self._cosines, weights=weights)),
            "mean_absolute_error": float(np.average(self._errors, weights=weights)),
        }

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over samples."""
        return intervals(self.metrics, len(self._cosines))

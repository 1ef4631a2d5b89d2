"""Metrics of a regression. The predicted numbers are compared with the true numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals

Floats = NDArray[np.float64]

MIN_SAMPLES = 8
"""Minimum number of samples for `chance`."""


class RegressionMetrics:
    """Metrics of a set of samples, computed from predicted and true values.

    Args:
        found: Predicted values, `[N,K]`.
        true: True values, `[N,K]`.
        names: Names of the values.
        spans: Width of the range of each value, `[K]`, above 0.
    """

    def __init__(self, found: Floats, true: Floats, names: tuple[str, ...], spans: Floats) -> None:
        self._errors, self._true, self._names, self._spans = found - true, true, names, spans

    def metrics(self, weights: Floats | None = None) -> dict[str, float]:
        """Return `closeness`, and the mean absolute error, the root mean square error and R2 of each value.

        `closeness` is 1 minus the mean absolute error divided by the width of the range, but at least 0. It is averaged
        over the values. One percentage point of `closeness` is therefore 1 % of the range. Unlike R2, `closeness` does
        not depend on the variance of the true values. A drop therefore has the same meaning on easy and on difficult
        data. R2 is at most 1, and 0 for a model that always returns the mean of the true values. It is omitted for a
        value whose true values are all equal.

        Source of R2: Draper and Smith, "Applied Regression Analysis" (1998), section 1.3.

        Args:
            weights: How often each sample counts, `[N]`. If None, each counts once.
        """
        absolute = np.average(np.abs(self._errors), axis=0, weights=weights)
        squared = np.average(np.square(self._errors), axis=0, weights=weights)
        mean = np.average(self._true, axis=0, weights=weights)
        variance = np.average(np.square(self._true - mean), axis=0, weights=weights)
        metrics = {"closeness": float(np.clip(1 - absolute / self._spans, 0, 1).mean())}
        for index, name in enumerate(self._names):
            metrics[f"mae/{name}"] = float(absolute[index])
            metrics[f"rmse/{name}"] = float(np.sqrt(squared[index]))
            if variance[index] > (1e-9 * self._spans[index]) ** 2:
                metrics[f"r2/{name}"] = float(1 - squared[index] / variance[index])
        return metrics

    def chance(self) -> str | None:
        """Return a warning if a value is not predicted better than by the mean of its true values, else None."""
        metrics = self.metrics()
        worse = [name for name in self._names if metrics.get(f"r2/{name}", 1.0) <= 0]
        if not worse or len(self._errors) < MIN_SAMPLES:
            return None
        numbers = ", ".join(f"{metrics[f'r2/{name}']:.3f} for {name}" for name in worse)
        return f"R2 is {numbers} on {len(self._errors)} samples, which is not better than always predicting the mean"

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over samples."""
        return intervals(self.metrics, len(self._errors))

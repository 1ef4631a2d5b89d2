"""Metrics of classifiers, computed from scores and true classes."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks.metrics.bootstrap import Interval, intervals

Labels = NDArray[np.int64]

SIGNIFICANCE = 0.05
"""Maximum probability that a result occurs by chance. A result with a larger probability does not count as better than
chance."""


class ClassificationMetrics:
    """Metrics of a set of samples, computed from scores and true classes.

    Args:
        scores: Scores, `[N,C]`.
        labels: Indices into `classes`, `[N]`.
        classes: Class names.
    """

    def __init__(self, scores: NDArray[np.float32], labels: Labels, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self.predicted, self.labels = scores.argmax(axis=1), labels
        self._values, self._ranks = 0, np.zeros(0, np.int64)
        if len(classes) == 2:
            values, self._ranks = np.unique(scores[:, 1], return_inverse=True)
            self._values = len(values)

    def confusion(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return the confusion matrix `[C,C]`: rows are true classes, columns are predictions."""
        count = len(self.classes)
        table = np.bincount(self.labels * count + self.predicted, weights, count * count)
        return table.reshape(count, count).astype(np.float64)

    def metrics(self, weights: NDArray[np.float64] | None = None) -> dict[str, float]:
        """Return accuracy; precision, recall (sensitivity) and F1 per class and as means; for two classes also ROC AUC.

        The second of two classes is the positive one. A class that was never predicted has a precision of 0, and a
        class without samples has a recall of 0.

        Args:
            weights: How often each sample counts, `[N]`. If None, each counts once. If a resample misses a class,
                undefined metrics are omitted, and means cover the other classes.
        """
        table = self.confusion(weights)
        hits, predicted, true = np.diag(table), table.sum(axis=0), table.sum(axis=1)
        precision = np.divide(hits, predicted, out=np.zeros_like(hits), where=predicted > 0)
        recall = np.divide(hits, true, out=np.zeros_like(hits), where=true > 0)
        both = precision + recall
        f1 = np.divide(2 * precision * recall, both, out=np.zeros_like(hits), where=both > 0)
        metrics = {"accuracy": float(hits.sum() / table.sum())}
        of_class = {"precision": precision, "recall": recall, "f1": f1}
        present = np.ones(len(true), bool) if weights is None else true > 0
        metrics |= {name: float(values[present].mean()) for name, values in of_class.items()}
        if len(self.classes) == 2:
            area = self._roc_auc(np.ones(len(self.labels)) if weights is None else weights)
            metrics |= {} if area is None else {"roc_auc": area}
        for name, values in of_class.items():
            of_label = zip(self.classes, values, present, strict=True)
            metrics |= {f"{name}/{label}": float(value) for label, value, counts in of_label if counts}
        return metrics

    def chance(self) -> str | None:
        """Return a warning if the accuracy is not better than that of always predicting the most frequent class.

        The accuracy counts as better if a constant prediction would reach it with a probability of at most 5 %. The
        result is None if the accuracy is better, or if the samples cannot show a difference because there are too few
        of them or because they all have one class.
        """
        count, frequency = len(self.labels), np.bincount(self.labels, minlength=len(self.classes))
        share, right = float(frequency.max()) / count, int(np.sum(self.predicted == self.labels))
        if share**count > SIGNIFICANCE or upper_tail(right, count, share) <= SIGNIFICANCE:
            return None
        return (
            f"accuracy {right / count:.3f} on {count} samples is not better than {share:.3f}, the accuracy of always "
            f"answering {self.classes[int(frequency.argmax())]}"
        )

    def intervals(self) -> dict[str, Interval]:
        """Return a confidence interval for each metric, computed over samples."""
        return intervals(self.metrics, len(self.labels), are_shares=True)

    def _roc_auc(self, weights: NDArray[np.float64]) -> float | None:
        """Return the area under the ROC curve, or None if there are no positive or no negative samples.

        It is the probability that a positive sample has a higher score than a negative one. Ties count half.
        Source: Hanley and McNeil, "The meaning and use of the area under a receiver operating characteristic curve"
        (1982).
        """
        positive = self.labels == 1
        up = np.bincount(self._ranks, weights * positive, self._values)
        down = np.bincount(self._ranks, weights * ~positive, self._values)
        pairs = up.sum() * down.sum()
        return float((up * (np.cumsum(down) - down / 2)).sum() / pairs) if pairs else None


def upper_tail(right: int, count: int, share: float) -> float:
    """Return the probability that at least `right` of `count` answers are correct by chance.

    Args:
        right: Number of right answers.
        count: Number of answers.
        share: Probability that an answer is right, above 0 and below 1.
    """
    logs = (math.log(share), math.log1p(-share))
    return math.fsum(
        math.exp(
            math.lgamma(count + 1)
            - math.lgamma(hits + 1)
            - math.lgamma(count - hits + 1)
            + hits * logs[0]
            + (count - hits) * logs[1]
        )
        for hits in range(right, count + 1)
    )

"""Confidence intervals of metrics, and the warning about few samples."""

import numpy as np
import pytest

from orilla.runtime.tasks.metrics.bootstrap import few_samples, wilson
from orilla.runtime.tasks.metrics.classification import ClassificationMetrics


def metrics(right, count):
    scores = np.zeros((count, 2), np.float32)
    scores[:, 0] = 1
    labels = np.array([0] * right + [1] * (count - right))
    return ClassificationMetrics(scores, labels, ("a", "b"))


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
    [
        (81 / 263, 263, 0.2553, 0.3662),
        (15 / 148, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1 / 29, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(share, count, low, high):
    assert wilson(share, count) == pytest.approx((low, high), abs=1e-4)


def test_an_accuracy_of_one_is_uncertain():
    """Every resample has an accuracy of 1, so the bootstrap finds no uncertainty."""
    low, high = metrics(10, 10).intervals()["accuracy"]
    assert high == pytest.approx(1.0)
    assert low == pytest.approx(0.7225, abs=1e-3)


def test_other_accuracies_have_bootstrap_intervals():
    low, high = metrics(30, 40).intervals()["accuracy"]
    assert 0.55 < low < 0.65
    assert 0.85 < high < 0.95


def test_few_samples():
    assert few_samples(100) is None
    assert few_samples(24) == ("24 samples say little: an accuracy of 0.90 could be 0.72 to 0.97; use 100 or more")
    assert few_samples(1).startswith("1 sample says little")

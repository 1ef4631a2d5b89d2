"""Assignment of detected boxes to tracked objects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def assign(similarity: NDArray[np.float64], minimum: float) -> tuple[Indices, Indices]:
    """Return the rows and columns of the pairs in a similarity matrix `[N,M]`, in descending order of similarity.

    Each row and column belongs to at most one pair, and the similarity of each pair is at least `minimum`. The
    algorithm works in rounds. Each round selects all values that are the largest of both their row and their column, so
    few rounds are needed. Bewley et al. use the maximum-weight matching instead, for which the runtime would need
    SciPy. On the synthetic scenes of `tests/perf/tracking.py`, both methods cause the same number of identity switches.
    """
    left = np.where(similarity >= max(minimum, 1e-9), similarity, 0.0)
    rows: list[Indices] = []
    columns: list[Indices] = []
    while left.size:
        best_column = left.argmax(axis=1)
        row = np.flatnonzero(left.max(axis=1) > 0)
        row = row[left[:, best_column[row]].argmax(axis=0) == row]
        if not len(row):
            break
        rows.append(row)
        columns.append(best_column[row])
        left[row], left[:, best_column[row]] = 0, 0
    empty = np.zeros(0, np.intp)
    return np.concatenate([empty, *rows]), np.concatenate([empty, *columns])

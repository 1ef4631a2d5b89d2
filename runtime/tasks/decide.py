"""Compare two answers by the decisions on which a robot would act."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks import segment
from orilla.runtime.tasks.classify import class_scores
from orilla.runtime.tasks.task import Task

SAME = 0.05
"""Two numbers are equal decisions if they differ by at most this share of the outputs' root mean square."""

Bools = NDArray[np.bool_]


def agreeing(
    task: Task, one: NDArray[np.float32], other: NDArray[np.float32], size_hw: tuple[int, int] | None = None
) -> Bools:
    """Return where two outputs without batch axis decide equally.

    Decisions are the pixels of the mask at `size_hw` or on the network's grid, the most likely class `[1]`, or numbers.
    """
    if task == "tensor":
        close: Bools = np.abs(one - other) <= SAME * np.sqrt(np.mean(np.square(other, dtype=np.float64)))
        return close
    same: Bools = decisions(task, one, size_hw) == decisions(task, other, size_hw)
    return same


def decisions(task: Task, output: NDArray[np.float32], size_hw: tuple[int, int] | None = None) -> NDArray[np.generic]:
    """Return the decisions of one output without batch axis.

    They are the mask at `size_hw` or on the network's grid, the most likely class `[1]`, or the numbers.
    """
    if task != "segment":
        best: NDArray[np.intp] = np.argmax(class_scores(output[None]), axis=1)
        return best
    if size_hw is None:
        mask: Bools = output >= segment.THRESHOLD
        return mask
    return segment.decode(output, size_hw, "").mask

"""Compare the decisions of two models. A decision is the part of an output that a robot acts on, such as the class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.tasks import segment
from orilla.runtime.tasks.classify import class_scores
from orilla.runtime.tasks.task import Task

TOLERANCE = 0.05
"""Two numbers count as the same decision if they differ by at most this share of the reference's root mean square."""

Bools = NDArray[np.bool_]


def agreeing(
    task: Task, output: NDArray[np.float32], reference: NDArray[np.float32], size_hw: tuple[int, int] | None = None
) -> Bools:
    """Return for each decision whether an output agrees with a reference.

    For models that output arrays, each number is a decision. For other tasks, see `decisions`.

    Args:
        task: Task of both models.
        output: Output without the batch axis.
        reference: Output of the original model, of the same shape.
        size_hw: Height and width of the frame, for a segmentation. If None, the cells of the network's grid are
            compared.
    """
    if task == "tensor":
        scale = np.sqrt(np.mean(np.square(reference, dtype=np.float64)))
        close: Bools = np.abs(output - reference) <= TOLERANCE * scale
        return close
    same: Bools = decisions(task, output, size_hw) == decisions(task, reference, size_hw)
    return same


def decisions(task: Task, output: NDArray[np.float32], size_hw: tuple[int, int] | None = None) -> NDArray[np.generic]:
    """Return the decisions of an output without the batch axis.

    For a segmentation, they are the mask, at `size_hw` or on the network's grid. Otherwise they are the most likely
    class `[1]`.
    """
    if task != "segment":
        best: NDArray[np.intp] = np.argmax(class_scores(output[None]), axis=1)
        return best
    if size_hw is None:
        mask: Bools = output >= segment.THRESHOLD
        return mask
    return segment.decode(output, size_hw, "").mask

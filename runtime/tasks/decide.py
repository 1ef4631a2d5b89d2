"""What two answers are compared by: the decisions that a robot would act on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.datasets.labelled import Task
from orilla.runtime.measures.classification import class_scores
from orilla.runtime.tasks import segment


def decisions(task: Task, output: NDArray[np.float32], size_hw: tuple[int, int] | None = None) -> NDArray[np.generic]:
    """The mask of one output without batch axis, at `size_hw` or on the network's own grid; or its most likely class,
    `[1]`."""
    if task != "segment":
        best: NDArray[np.intp] = np.argmax(class_scores(output[None]), axis=1)
        return best
    if size_hw is None:
        mask: NDArray[np.bool_] = output >= segment.THRESHOLD
        return mask
    return segment.decode(output, size_hw, "").mask

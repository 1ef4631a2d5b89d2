"""Checks that every task must pass. A test calls each of `CHECKS` with a `TaskCase`."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.registry import TASKS
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target, Task

CLOSE = 1e-6
"""Allowed difference between a perfect metric and 1."""

MAX_WRONG = 0.9
"""Upper limit of the primary metric for wrong outputs."""

KINDS = {"image", "text", "tensor"}
"""Kinds of input that a task may take."""


@dataclass(frozen=True, slots=True)
class TaskCase:
    """An example of a task: outputs of a model for one sample, and what they should be."""

    task: Task
    context: DecodeContext
    """Properties of the model. It has no `frame_hw`."""
    truth: Any
    """Ground truth of the sample, as in `GroundTruth.value`."""
    right: Outputs
    """Outputs that match the ground truth."""
    wrong: Outputs
    """Outputs of the same shapes whose decisions differ."""
    frame_hw: tuple[int, int] | None = (60, 80)
    """Height and width of the frame in pixels. None if the input is not an image."""

    @property
    def frame(self) -> DecodeContext:
        """Return the context of a frame."""
        return self.context.of_frame(self.frame_hw)

    @property
    def target(self) -> Target:
        """Return the target for data whose classes are those of the model."""
        return Target(self.task, self.context, self.task.pseudo_indices(self.context.labels), ignore=255)


def describes_itself(case: TaskCase) -> None:
    """The task has a name, a metric and the words that messages need."""
    task = case.task
    for text in (task.name, task.metric, task.metric_title, task.decision):
        assert text
        assert text == text.strip(), f"{text!r} must be a text without spaces at its ends"
    assert task.input_kinds, "the task takes no kind of input"
    assert set(task.input_kinds) <= KINDS, f"input_kinds={task.input_kinds}: must be among {sorted(KINDS)}"
    assert task.golden_candidates >= 1


def answers_with_json(case: TaskCase) -> None:
    """The answer is a JSON document with the name of a task, and is the same for the same outputs."""
    first, repeated = (case.task.decode(case.right, case.frame).to_dict() for _ in range(2))
    document = json.loads(json.dumps(first))
    assert document["task"] in TASKS, f"the answer states the task {document['task']!r}"
    assert first == repeated, "two answers for the same outputs differ"
    assert first != case.task.decode(case.wrong, case.frame).to_dict(), "right and wrong outputs have the same answer"


def draws_itself(case: TaskCase) -> None:
    """The answer draws into an image of any size, and returns lines of text."""
    for height, width in ((case.frame_hw or (120, 160)), (30, 50)):
        context = case.context.of_frame(None if case.frame_hw is None else (height, width))
        image = np.zeros((height, width, 3), np.uint8)
        lines = case.task.decode(case.right, context).draw(image)
        assert all(isinstance(line, str) for line in lines)
        assert image.shape == (height, width, 3)


def agrees_with_itself(case: TaskCase) -> None:
    """Outputs agree with themselves, and not with wrong ones."""
    assert case.task.agreeing(case.right, case.right, case.context).all(), "outputs do not agree with themselves"
    assert not case.task.agreeing(case.right, case.wrong, case.context).all(), "right and wrong outputs agree"


def rates_right_answers_with_1(case: TaskCase) -> None:
    """The primary metric is 1 for right outputs and lower for wrong ones, and its interval contains it."""
    right, wrong = (_metrics(case, [case.truth] * 3, outputs) for outputs in (case.right, case.wrong))
    value = right.metrics()[case.task.metric]
    assert abs(value - 1) < CLOSE, f"{case.task.metric} is {value} for right outputs"
    value = wrong.metrics()[case.task.metric]
    assert value < MAX_WRONG, f"{case.task.metric} is {value} for wrong outputs"
    low, high = right.intervals()[case.task.metric]
    assert low <= 1 + CLOSE
    assert high >= 1 - CLOSE


def takes_its_own_answers_as_truth(case: TaskCase) -> None:
    """The decisions of the original model serve as ground truth if the data have no labels."""
    shape = next(iter(case.right.values())).shape
    grid = case.context.of_frame(shape[:2] if len(shape) == 3 and case.frame_hw is not None else None)
    truths = [case.task.pseudo_truth(case.right, grid) for _ in range(3)]
    right, wrong = (_metrics(case, truths, outputs) for outputs in (case.right, case.wrong))
    assert abs(right.metrics()[case.task.metric] - 1) < CLOSE
    assert wrong.metrics()[case.task.metric] < MAX_WRONG


def chooses_golden_samples(case: TaskCase) -> None:
    """The golden samples are different candidates."""
    count = 3 * case.task.golden_candidates
    outputs = {name: np.stack([array] * count) for name, array in case.right.items()}
    chosen = case.task.choose_golden(outputs, case.context, 3)
    assert len(set(chosen)) == 3, f"{len(set(chosen))} of 3 golden samples were chosen"
    assert set(chosen) <= set(range(count))


def _metrics(case: TaskCase, truths: list[Any], outputs: Outputs) -> Any:
    return case.target.metrics([(GroundTruth(str(index), truth), outputs) for index, truth in enumerate(truths)])


CHECKS: tuple[Callable[[TaskCase], None], ...] = (
    describes_itself,
    answers_with_json,
    draws_itself,
    agrees_with_itself,
    rates_right_answers_with_1,
    takes_its_own_answers_as_truth,
    chooses_golden_samples,
)
"""The checks of a task."""

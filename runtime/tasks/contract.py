"""Checks that every task must pass. A test calls each of `CHECKS` with a `TaskCase`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.registry import TASKS
from orilla.runtime.tasks.task import DecodeContext, GroundTruth, Target, Task

CLOSE = 1e-6
"""Maximum difference between 1 and the primary metric of perfect outputs."""

MAX_WRONG = 0.9
"""Maximum value of the primary metric of wrong outputs."""

KINDS = {"image", "text", "tensor"}
"""Kinds of input that a task may take."""


@dataclass(frozen=True, slots=True)
class TaskCase:
    """A test case for a task: one sample with its ground truth, and right and wrong outputs of a model for it."""

    task: Task
    context: DecodeContext
    """Properties of the model, without `frame_hw`."""
    truth: Any
    """Ground truth of the sample, as in `GroundTruth.value`."""
    right: Outputs
    """Outputs that match the ground truth."""
    wrong: Outputs
    """Outputs that have the same shapes as `right` but lead to other decisions."""
    frame_hw: tuple[int, int] | None = (60, 80)
    """Height and width of the frame in pixels. None if the input is not an image."""

    @property
    def frame(self) -> DecodeContext:
        """Return the context with the frame's size."""
        return self.context.of_frame(self.frame_hw)

    @property
    def target(self) -> Target:
        """Return the target for a data set that has the same classes as the model."""
        return Target(self.task, self.context, self.task.pseudo_indices(self.context.labels), ignore=255)


def describes_itself(case: TaskCase) -> None:
    """Check that the task has a name, a metric and the nouns that messages need."""
    task = case.task
    for text in (task.name, task.metric, task.metric_title, task.decision):
        assert text
        assert text == text.strip(), f"{text!r} must be a non-empty string without leading or trailing whitespace"
    assert task.input_kinds, "`input_kinds` is empty: name at least one kind of input"
    assert set(task.input_kinds) <= KINDS, f"input_kinds={task.input_kinds}: each kind must be one of {sorted(KINDS)}"
    assert task.golden_candidates >= 1


def answers_with_json(case: TaskCase) -> None:
    """Check that the answer's JSON document states the task, and that equal outputs have equal answers."""
    first, repeated = (case.task.decode(case.right, case.frame).to_dict() for _ in range(2))
    document = json.loads(json.dumps(first))
    assert document["task"] in TASKS, f"the JSON document of the answer names the wrong task {document['task']!r}"
    assert first == repeated, "two answers for the same outputs differ"
    assert first != case.task.decode(case.wrong, case.frame).to_dict(), "right and wrong outputs have the same answer"


def draws_itself(case: TaskCase) -> None:
    """Check that the answer draws into an image of any size and returns lines of text."""
    for height, width in ((case.frame_hw or (120, 160)), (30, 50)):
        context = case.context.of_frame(None if case.frame_hw is None else (height, width))
        image = np.zeros((height, width, 3), np.uint8)
        lines = case.task.decode(case.right, context).draw(image)
        assert all(isinstance(line, str) for line in lines)
        assert image.shape == (height, width, 3)


def describes_its_answers(case: TaskCase) -> None:
    """Check that an answer has a caption, numbers with valid names, and a state that depends only on the outputs."""
    right, again = (case.task.decode(case.right, case.frame) for _ in range(2))
    assert all(isinstance(line, str) for line in right.caption())
    for measure in right.measures():
        assert re.fullmatch(r"[a-z][a-z_]*", measure.quantity), f"{measure.quantity!r} is not a name of a quantity"
        assert isinstance(measure.number, int | float), f"the number of {measure.quantity} is {measure.number!r}"
    assert right.state() == again.state(), "equal outputs have different states"


def agrees_with_itself(case: TaskCase) -> None:
    """Check that right outputs agree with themselves, but not with wrong outputs."""
    assert case.task.agreeing(case.right, case.right, case.context).all(), "outputs do not agree with themselves"
    assert not case.task.agreeing(case.right, case.wrong, case.context).all(), "right and wrong outputs agree"


def rates_right_answers_with_1(case: TaskCase) -> None:
    """Check that the primary metric is 1 for right and lower for wrong outputs, and lies within its interval."""
    right, wrong = (_metrics(case, [case.truth] * 3, outputs) for outputs in (case.right, case.wrong))
    value = right.metrics()[case.task.metric]
    assert abs(value - 1) < CLOSE, f"{case.task.metric} is {value} for right outputs, but must be 1"
    value = wrong.metrics()[case.task.metric]
    assert value < MAX_WRONG, f"{case.task.metric} is {value} for wrong outputs, but must be at most {MAX_WRONG}"
    low, high = right.intervals()[case.task.metric]
    assert low <= 1 + CLOSE
    assert high >= 1 - CLOSE


def takes_its_own_answers_as_truth(case: TaskCase) -> None:
    """Check that the decisions of the original model can serve as ground truth for data without labels."""
    shape = next(iter(case.right.values())).shape
    grid = case.context.of_frame(shape[:2] if len(shape) == 3 and case.frame_hw is not None else None)
    truths = [case.task.pseudo_truth(case.right, grid) for _ in range(3)]
    right, wrong = (_metrics(case, truths, outputs) for outputs in (case.right, case.wrong))
    assert abs(right.metrics()[case.task.metric] - 1) < CLOSE
    assert wrong.metrics()[case.task.metric] < MAX_WRONG


def chooses_golden_samples(case: TaskCase) -> None:
    """Check that the golden samples are different candidates."""
    count = 3 * case.task.golden_candidates
    outputs = {name: np.stack([array] * count) for name, array in case.right.items()}
    chosen = case.task.choose_golden(outputs, case.context, 3)
    assert len(set(chosen)) == 3, f"{len(set(chosen))} different golden samples were chosen, but 3 were requested"
    assert set(chosen) <= set(range(count))


def _metrics(case: TaskCase, truths: list[Any], outputs: Outputs) -> Any:
    return case.target.metrics([(GroundTruth(str(index), truth), outputs) for index, truth in enumerate(truths)])


CHECKS: tuple[Callable[[TaskCase], None], ...] = (
    describes_itself,
    answers_with_json,
    draws_itself,
    describes_its_answers,
    agrees_with_itself,
    rates_right_answers_with_1,
    takes_its_own_answers_as_truth,
    chooses_golden_samples,
)
"""The checks that every task must pass."""

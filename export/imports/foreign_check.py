"""Reject model files that no engine can run, or whose inputs no loop can provide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orilla.export.imports.foreign import ForeignModel, ForeignTensor

MAX_VALUES = 1 << 28
"""Maximum number of values in an input. In float32, they take one gigabyte."""

ONE_SAMPLE = "export it again with one sample per inference, or with a batch axis that is not fixed"


class UnusableModelError(ValueError):
    """Raised by a check that rejects a model.

    Unlike the message of a failed inference, its message is shown unchanged.
    """


def unusable_model(model: ForeignModel) -> str | None:
    """Return the reason why a model cannot be used, or None if it can."""
    for side, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        if not tensors:
            return f"the model has no {side}"
        names = [tensor.name for tensor in tensors]
        double = next((name for name in names if names.count(name) > 1), None)
        if double is not None:
            return f"{names.count(double)} {side} have the name {double}: give each its own name, and convert it again"
    return None


def check_inputs(tensors: Sequence[ForeignTensor]) -> None:
    """Raise `UnusableModelError` for inputs that no loop can fill. Call this function before the first inference."""
    problem = next((problem for tensor in tensors if (problem := _input_problem(tensor)) is not None), None)
    if problem is not None:
        raise UnusableModelError(problem)


def _input_problem(tensor: ForeignTensor) -> str | None:
    described = f"the input {tensor.describe()}"
    if 0 in tensor.shape:
        return f"{described} has an axis of length 0: export it again with the sizes of a sample"
    if len(tensor.shape) > 1 and tensor.shape[0] > 1:
        return f"the first axis of {described} is {tensor.shape[0]}, but must be 1, for one sample: {ONE_SAMPLE}"
    if math.prod(tensor.shape) > MAX_VALUES:
        gigabytes = math.prod(tensor.shape) * 4 / 2**30
        return f"{described} takes {gigabytes:.0f} GiB in float32: export it again with smaller sizes"
    return None

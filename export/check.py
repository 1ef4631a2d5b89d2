"""The check: every variant against the original, on the validation data, through the code that the robot runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConversionError
from orilla.runtime.datasets.labelled import FIRST_METRIC
from orilla.runtime.manifest import Check, Tolerance
from orilla.runtime.measures import Target, Truth, measure
from orilla.runtime.session import Session
from orilla.runtime.tasks.decide import decisions

TOLERANCE = Tolerance(mean_error=0.003, max_error=0.2, agreement=0.998)
"""Of a variant on another machine against itself at export: several times what was seen between x86-64 and Arm, where
int8 in LiteRT was bit-exact and int8 in ONNX Runtime differed by 0.03 at most, and in 6 of 100,000 decisions."""


@dataclass(frozen=True)
class Reference:
    """The original model's answers on the validation data."""

    target: Target
    truths: list[Truth]
    prepared: NDArray[Any]
    """`[N,H,W,3]` uint8 or `[N,T]` int32, the samples as the network takes them."""
    outputs: NDArray[np.float32]
    """`[N,...]`."""

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Of the original model itself."""
        return self.measure(self.outputs)

    def measure(self, outputs: NDArray[np.float32]) -> dict[str, float]:
        """Of some outputs for the same samples."""
        return measure(self.target, zip(self.truths, outputs, strict=True)).metrics()

    def agreement(self, outputs: NDArray[np.float32]) -> float:
        """Share of decisions (pixels at the pictures' own size, or classes) that are the original's."""
        equal = total = 0
        for truth, one, other in zip(self.truths, outputs, self.outputs, strict=True):
            size = truth.value.shape if isinstance(truth.value, np.ndarray) else None
            same = decisions(self.target.task, one, size) == decisions(self.target.task, other, size)
            equal, total = equal + int(np.count_nonzero(same)), total + same.size
        return equal / total


def check(reference: Reference, session: Session) -> Check:
    """Runs a variant over the validation data.

    Raises:
        ConversionError: its output has another shape, or holds NaN or infinity.
    """
    outputs = answers(session, reference.prepared, reference.outputs.shape[1:])
    metrics, metric = reference.measure(outputs), FIRST_METRIC[reference.target.task]
    error = np.abs(outputs - reference.outputs)
    return Check(
        metrics=metrics,
        drop=100 * (reference.metrics[metric] - metrics[metric]),
        agreement=reference.agreement(outputs),
        mean_error=float(error.mean()),
        max_error=float(error.max()),
    )


def answers(session: Session, prepared: NDArray[Any], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The variant's outputs for prepared samples, `[N, *shape]`."""
    outputs = np.empty((len(prepared), *shape), np.float32)
    for index, one in enumerate(prepared):
        output = session.run(one)
        if output.shape[1:] != shape:
            raise ConversionError(f"the variant's output is {list(output.shape[1:])}, the original's {list(shape)}")
        outputs[index] = output[0]
    if not np.isfinite(outputs).all():
        raise ConversionError("the variant's output holds NaN or infinity")
    return outputs

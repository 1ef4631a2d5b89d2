"""The check: every variant against the original, on the validation data, through the code that the robot runs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConversionError
from orilla.export.pictures import Truth
from orilla.runtime.accuracy import Overlap, overlap, summarise
from orilla.runtime.datasets import Dataset
from orilla.runtime.manifest import Check, Tolerance
from orilla.runtime.session import Session
from orilla.runtime.tasks.segment import decode

TOLERANCE = Tolerance(mean_error=0.003, max_error=0.2, agreement=0.998)
"""Of a variant on another machine against itself at export: several times what was seen between x86-64 and Arm, where
int8 in LiteRT was bit-exact and int8 in ONNX Runtime differed by 0.03 at most, and in 6 of 100,000 decisions."""


@dataclass(frozen=True)
class Reference:
    """The original model's answers on the validation data."""

    dataset: Dataset
    label: str
    truths: list[Truth]
    prepared: NDArray[np.uint8]
    """`[N,H,W,3]`, the pictures as the network takes them."""
    outputs: NDArray[np.float32]
    """`[N,h,w,1]`."""

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Of the original model itself."""
        return summarise(_counts(self, self.outputs))


def check(reference: Reference, session: Session) -> Check:
    """Runs a variant over the validation data.

    Raises:
        ConversionError: its output has another shape, or holds NaN or infinity.
    """
    outputs = answers(session, reference.prepared, reference.outputs.shape[1:])
    metrics, original = summarise(_counts(reference, outputs)), reference.metrics
    error = np.abs(outputs - reference.outputs)
    return Check(
        metrics=metrics,
        drop=100 * (original["iou"] - metrics["iou"]),
        agreement=_agreement(reference, outputs),
        mean_error=float(error.mean()),
        max_error=float(error.max()),
    )


def answers(session: Session, prepared: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The variant's outputs for prepared pictures, `[N, *shape]`."""
    outputs = np.empty((len(prepared), *shape), np.float32)
    for index, picture in enumerate(prepared):
        output = session.run(picture)
        if output.shape[1:] != shape:
            raise ConversionError(f"the variant's output is {list(output.shape[1:])}, the original's {list(shape)}")
        outputs[index] = output[0]
    if not np.isfinite(outputs).all():
        raise ConversionError("the variant's output holds NaN or infinity")
    return outputs


def _counts(reference: Reference, outputs: NDArray[np.float32]) -> dict[str, Overlap]:
    dataset = reference.dataset
    target = dataset.classes.index(reference.label)
    counts = {}
    for truth, output in zip(reference.truths, outputs, strict=True):
        mask = decode(output, truth.labels.shape, reference.label).mask  # type: ignore[arg-type]
        counts[truth.name] = overlap(mask, truth.labels == target, truth.labels != dataset.ignore)
    return counts


def _agreement(reference: Reference, outputs: NDArray[np.float32]) -> float:
    """Share of pixels, at the pictures' own size, where variant and original decide alike."""
    equal = total = 0
    for truth, one, other in zip(reference.truths, outputs, reference.outputs, strict=True):
        size: tuple[int, int] = truth.labels.shape  # type: ignore[assignment]
        same = decode(one, size, reference.label).mask == decode(other, size, reference.label).mask
        equal, total = equal + int(np.count_nonzero(same)), total + same.size
    return equal / total

"""Compare every variant with the original model on the validation data, using the code that runs on the robot."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConversionError
from orilla.export.data.prepared import Inputs, row
from orilla.runtime.bundle.manifest import Check, Tolerance
from orilla.runtime.engines.session import Session, Slot
from orilla.runtime.preprocessing.tensor_spec import only, per_sample
from orilla.runtime.tasks.metrics import Metrics
from orilla.runtime.tasks.task import GroundTruth, Target

SECONDS = 3.0
"""Time limit of one check, in seconds.

A variant that would need more time is checked on fewer samples, which are spread evenly over the data. The recommended
variant is always checked on all samples.
"""

MIN_CHECKED = 6
"""Minimum number of samples in a check, even if the variant is slow."""

EXACT = Tolerance(mean_error=1e-3, max_error=0.05, agreement=0.998)
ROUNDED = Tolerance(mean_error=0.003, max_error=0.2, agreement=0.998)
"""Minimum tolerances for the difference between a variant's outputs at export and on another machine.

`EXACT` is for variants that compute in float, and `ROUNDED` is for variants that round to integers. The values are
several times larger than the differences that were measured between x86-64 and Arm. In float32, outputs differed by at
most 4e-7. In int8, they were equal in LiteRT and differed by at most 0.03 in ONNX Runtime, where 6 of 100,000 decisions
changed. The values are valid for outputs with a root mean square of at most one, and are scaled for larger outputs.
"""


OutputArrays = dict[str, NDArray[np.float32]]
"""Outputs for several samples by name, each `[N,...]`."""


@dataclass(frozen=True)
class Reference:
    """Outputs of the original model for the validation samples, with the ground truth."""

    target: Target
    truths: list[GroundTruth]
    inputs: Inputs
    """Prepared validation samples."""
    outputs: OutputArrays
    """Outputs of the original model."""
    sizes: list[tuple[int, int] | None]
    """Height and width at which the masks of each sample are compared. The entries are None for tasks other than
    segment."""
    sums_to_one: bool
    """True if the outputs of a sample are probabilities that sum to one."""

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Return the metrics of the original model."""
        return self.metrics_of(self.outputs, range(len(self.truths))).metrics()

    @cached_property
    def scale(self) -> float:
        """Return the root mean square of the outputs, or one if it is smaller than one."""
        return max(1.0, float(np.sqrt(np.mean(np.square(flat(self.outputs), dtype=np.float64)))))

    def metrics_of(self, outputs: OutputArrays, places: range) -> Metrics:
        """Return the metrics of `outputs`, which belong to the samples at `places`."""
        return self.target.metrics(zip((self.truths[place] for place in places), per_sample(outputs), strict=True))

    def at(self, places: range) -> OutputArrays:
        """Return the outputs of the original model for the samples at `places`."""
        return {name: array[places.start : places.stop : places.step] for name, array in self.outputs.items()}

    def agreement(self, outputs: OutputArrays, places: range) -> float:
        """Return the share of decisions in `outputs` that equal the decisions of the original model.

        Depending on the task, a decision is the class of a pixel at image size, the class of a sample, or an output
        number.
        """
        equal = total = 0
        for output, original, place in zip(per_sample(outputs), per_sample(self.at(places)), places, strict=True):
            same = self.target.task.agreeing(output, original, self.target.context.of_frame(self.sizes[place]))
            equal, total = equal + int(np.count_nonzero(same)), total + same.size
        return equal / total


def check(reference: Reference, session: Session, *, seconds: float | None = SECONDS) -> Check:
    """Compare a variant with the original model on the validation samples.

    Args:
        reference: Outputs of the original model.
        session: Session of the variant.
        seconds: Time limit, in seconds. If the variant would need more time, the check uses fewer samples. If None,
            it uses all samples.

    Raises:
        ConversionError: The output has the wrong shape, or contains NaN or infinity.
    """
    count = len(reference.truths)
    places = range(0, count, _stride(session, reference, seconds))
    outputs, original = answers(session, reference.inputs, places, reference.outputs), reference.at(places)
    computed, metric = reference.metrics_of(outputs, places), reference.target.task.metric
    metrics = computed.metrics()
    base = reference.metrics if len(places) == count else reference.metrics_of(original, places).metrics()
    error = np.abs(flat(outputs) - flat(original))
    return Check(
        metrics=metrics,
        interval=computed.intervals()[metric],
        drop=100 * (base[metric] - metrics[metric]),
        agreement=reference.agreement(outputs, places),
        mean_error=float(error.mean()),
        max_error=float(error.max()),
        sqnr_db=_sqnr(flat(original), flat(outputs)),
        saturated=_saturated(original, outputs, session.outputs),
        sum_error=_sum_error(only(outputs)) if reference.sums_to_one else None,
        count=len(places),
    )


def _stride(session: Session, reference: Reference, seconds: float | None) -> int:
    """Return the step between checked samples, so that the check ends within `seconds`."""
    if seconds is None:
        return 1
    fastest = math.inf
    for _ in range(3):  # The first run is slower, because it allocates memory.
        started = time.perf_counter()
        answers(session, reference.inputs, range(1), reference.outputs)
        fastest = min(fastest, time.perf_counter() - started)
        if fastest > seconds / MIN_CHECKED:
            break
    count = max(MIN_CHECKED, int(seconds / max(fastest, 1e-9)))
    return max(1, math.ceil(len(reference.truths) / count))


def tolerance(
    result: Check, reference: Reference, outputs: OutputArrays, original: OutputArrays, *, rounded: bool
) -> Tolerance:
    """Return the largest allowed difference of a variant's outputs on another machine.

    The tolerance grows with the errors of the variant on the validation samples and on the golden samples. It is never
    smaller than `EXACT` or `ROUNDED`. The golden samples are included because they may be of a kind that the network
    was not trained on. The network's decisions for such samples are uncertain, so different rounding on another
    processor changes more of these decisions.

    Args:
        result: Result of the check.
        reference: Outputs of the original model for the validation samples.
        outputs: Outputs of the variant for the golden samples.
        original: Outputs of the original model for the golden samples.
        rounded: True if the variant rounds to integers.
    """
    minimum, scale, target = ROUNDED if rounded else EXACT, reference.scale, reference.target
    error = np.abs(flat(outputs) - flat(original))
    agreement = min(
        float(np.mean(target.task.agreeing(*pair, target.context)))
        for pair in zip(per_sample(outputs), per_sample(original), strict=True)
    )
    return Tolerance(
        mean_error=max(minimum.mean_error * scale, result.mean_error, float(error.mean(axis=1).max())),
        max_error=max(minimum.max_error * scale, float(error.max())),
        agreement=min(minimum.agreement, 1 - (1 - min(result.agreement, agreement)) / 2),
    )


def answers(session: Session, inputs: Inputs, places: range, expected: OutputArrays) -> OutputArrays:
    """Run the variant on the prepared samples at `places`, and return its outputs.

    Args:
        session: Session of the variant.
        inputs: Prepared samples.
        places: Indices of the samples.
        expected: Outputs of the original model. The outputs of the variant must have the same names and shapes.

    Raises:
        ConversionError: An output has a wrong shape, or contains NaN or infinity.
    """
    outputs = {name: np.empty((len(places), *array.shape[1:]), np.float32) for name, array in expected.items()}
    for index, place in enumerate(places):
        for name, output in session.run(row(inputs, place)).items():
            if output.shape != outputs[name].shape[1:]:
                msg = (
                    f"the variant's output {name} has shape {list(output.shape)}, but that of the original model has "
                    f"shape {list(outputs[name].shape[1:])}"
                )
                raise ConversionError(msg)
            outputs[name][index] = output
    if not all(np.isfinite(array).all() for array in outputs.values()):
        msg = "the variant's output contains NaN or infinity"
        raise ConversionError(msg)
    return outputs


def flat(outputs: OutputArrays) -> NDArray[np.float32]:
    """Return all numbers of each sample as one vector, `[N,D]`."""
    return np.concatenate([array.reshape(len(array), -1) for array in outputs.values()], axis=1)


def _sqnr(original: NDArray[np.float32], outputs: NDArray[np.float32]) -> float | None:
    noise = float(np.mean(np.square(outputs - original, dtype=np.float64)))
    signal = float(np.mean(np.square(original, dtype=np.float64)))
    return None if noise == 0 or signal == 0 else 10 * math.log10(signal / noise)


def _saturated(original: OutputArrays, outputs: OutputArrays, slots: Sequence[Slot]) -> float:
    """Return the share of outputs that are saturated.

    An output is saturated if it equals the smallest or largest value that the variant can output, and the output of
    the original model lies outside this range by more than one quantisation step. Only the output of a model with a
    single output is examined.
    """
    span = slots[0].span if len(slots) == 1 else None
    if span is None:
        return 0.0
    (found,), (expected,) = outputs.values(), original.values()
    low, high = span
    step = (high - low) / 255
    saturated = ((found <= low) & (expected < low - step)) | ((found >= high) & (expected > high + step))
    return float(np.mean(saturated))


def _sum_error(outputs: NDArray[np.float32]) -> float:
    return float(np.abs(outputs.sum(axis=-1) - 1).max())

"""Regression, which predicts named numbers with units, such as a steering angle, for an image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, ConfigError, DataError, unknown_name
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.decoding import Decoding
from orilla.runtime.tasks.documents import RegressionDocument
from orilla.runtime.tasks.drawing import draw_bar, draw_direction
from orilla.runtime.tasks.heads.head import Shapes
from orilla.runtime.tasks.label_names import count_of
from orilla.runtime.tasks.metrics.regression import RegressionMetrics
from orilla.runtime.tasks.task import Bools, DecodeContext, GroundTruth, Image, Measure, Target, Task

TOLERANCE = 0.02
"""Two numbers count as the same decision if they differ by at most this share of the range's width.

For a steering range of -25 to 25 degrees, this is one degree."""

STEERING = ("steering", "steering_angle", "angle")
"""Names of values that are drawn as an arrow. The arrow points to the right for a positive number."""

Values = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Regression(Mapping[str, float]):
    """The numbers that a model predicted for an image, by name, as in `result["steering"]`."""

    names: tuple[str, ...]
    numbers: Values
    """Numbers `[K]` in their units, one per name. They are a copy, not a view of the engine's memory."""
    decoding: Decoding
    """Settings of the task, with the units and ranges of the values."""

    def __getitem__(self, name: str) -> float:
        if name not in self.names:
            raise KeyError(str(unknown_name(name, self.names, kind="value of the model")))
        return float(self.numbers[self.names.index(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def units(self) -> dict[str, str]:
        """Return the unit of each value by name. Values without a unit are omitted."""
        pairs = zip(self.names, self.decoding.units, strict=False)
        return {name: unit for name, unit in pairs if unit}

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Return the minimum and maximum of each value by name. The result is empty if they are unknown."""
        return dict(zip(self.names, self.decoding.ranges, strict=False))

    def to_dict(self) -> RegressionDocument:
        """Return the result as a JSON document.

        Numbers are rounded to six digits. `units` is absent if no value has a unit.
        """
        values = {name: float(f"{number:.6g}") for name, number in self.items()}
        document: RegressionDocument = {"task": "regress", "values": values}
        if self.units:
            document["units"] = self.units
        return document

    def caption(self) -> list[str]:
        """Return the numbers with their names and units."""
        return [f"{name} {number:.3g} {self.units.get(name, '')}".rstrip() for name, number in self.items()]

    def measures(self) -> list[Measure]:
        """Return the numbers in their units."""
        return [Measure("value", name, number, self.units.get(name, "")) for name, number in self.items()]

    def state(self) -> object:
        """Return the numbers with three digits."""
        return [f"{number:.3g}" for number in self.values()]

    def draw(self, image: Image) -> list[str]:
        """Draw a bar for each value with a range, and an arrow for a steering value. Return the numbers as text."""
        texts = self.caption()
        for row, (name, (low, high)) in enumerate(self.ranges.items()):
            share = min(max((self[name] - low) / (high - low), 0.0), 1.0)
            zero = min(max(-low / (high - low), 0.0), 1.0)
            draw_bar(image, len(self.ranges) - 1 - row, share, zero, texts[self.names.index(name)])
            if name in STEERING:
                draw_direction(image, 2 * share - 1)
        return texts


class RegressTask(Task):
    """The task `regress`: numbers with names. If a model has several outputs, their numbers are concatenated."""

    name = "regress"
    input_kinds = ("image",)
    metric = "closeness"
    metric_title = "closeness (1 - mean absolute error / range)"
    decision = "numbers"
    scores_in_0_1 = False
    golden_candidates = 5

    def labels_for(self, outputs: Sequence[tuple[int, ...]], labels: tuple[str, ...]) -> tuple[str, ...]:
        """Check that the outputs are vectors. Return the names of the values, by default `value0` and so on."""
        count = sum(math.prod(shape) for shape in outputs)
        if any(len(shape) > 1 for shape in outputs):
            shapes = ", ".join(str(list(shape)) for shape in outputs)
            msg = f"the outputs of a regression have shape [values], but this model outputs {shapes}: use task=tensor"
            raise ConfigError(msg)
        if labels and len(labels) != count:
            msg = f"`labels` has {count_of(labels)}, but the model outputs {count} values"
            raise ConfigError(msg)
        return labels or (("value",) if count == 1 else tuple(f"value{index}" for index in range(count)))

    def check_outputs(self, context: DecodeContext, shapes: Shapes) -> None:
        """Raise `ConfigError` if the names, units or ranges do not match the outputs."""
        super().check_outputs(context, shapes)
        count = sum(math.prod(shape) for shape in shapes.values())
        given = {"labels": context.labels, "units": context.decoding.units, "ranges": context.decoding.ranges}
        for name, values in given.items():
            if len(values) != count and (values or name == "labels"):
                msg = f"there are {len(values)} {name}, but the model outputs {count} values"
                raise ConfigError(msg)

    def decode(self, outputs: Outputs, context: DecodeContext) -> Regression:
        """Convert outputs into an answer. Raise `BundleError` if their size does not match the names."""
        return Regression(context.labels, values_of(outputs, context), context.decoding)

    def decisions(self, outputs: Outputs, context: DecodeContext) -> Values:
        """Return the numbers in their units, `[K]`."""
        return values_of(outputs, context)

    def agreeing(self, outputs: Outputs, reference: Outputs, context: DecodeContext) -> Bools:
        """Return True for each number that is close to the reference.

        The allowed difference is `TOLERANCE` times the width of the range. If the range is unknown, its width is
        assumed to be twice the absolute value of the reference.
        """
        found, expected = values_of(outputs, context), values_of(reference, context)
        spans = _spans(context.decoding) if context.decoding.ranges else 2 * np.abs(expected, dtype=np.float64)
        close: Bools = np.abs(found - expected) <= TOLERANCE * spans
        return close

    def pseudo_truth(self, outputs: Outputs, context: DecodeContext) -> NDArray[np.generic]:
        """Return the numbers in their units."""
        return values_of(outputs, context)

    def class_indices(self, classes: tuple[str, ...], labels: tuple[str, ...], data: str) -> tuple[int, ...]:
        """Return the index of each value of the model among the values of the data set.

        Raises:
            ConfigError: The data set lacks a value of the model. The data set may have additional values.
        """
        missing = [name for name in labels if name not in classes]
        if missing:
            raise unknown_name(missing[0], classes, kind=f"value of {data}")
        return tuple(classes.index(name) for name in labels)

    def choose_golden(self, outputs: Outputs, context: DecodeContext, count: int) -> list[int]:
        """Return the indices of samples whose first values are evenly spread from the lowest to the highest."""
        samples = len(next(iter(outputs.values())))
        first = [
            values_of({name: array[index] for name, array in outputs.items()}, context)[0] for index in range(samples)
        ]
        places = np.linspace(0, samples - 1, min(count, samples)).round().astype(int)
        return sorted(np.argsort(first, kind="stable")[places].tolist())

    def metrics(self, target: Target, answers: Iterable[tuple[GroundTruth, Outputs]]) -> RegressionMetrics:
        """Return the closeness and the errors. Raise `DataError` if a sample has too few true values.

        If the ranges of the values are unknown, the ranges of the true values are used.
        """
        found, true = [], []
        for truth, outputs in answers:
            values = np.asarray(truth.value, np.float64).ravel()
            if max(target.class_indices) >= values.size:
                msg = f"sample {truth.name} has {values.size} values, but the model needs {len(target.labels)}"
                raise DataError(msg)
            found.append(values_of(outputs, target.context).astype(np.float64))
            true.append(values[list(target.class_indices)])
        decoding, trues = target.context.decoding, np.stack(true)
        spans = _spans(decoding) if decoding.ranges else _seen_spans(trues)
        return RegressionMetrics(np.stack(found), trues, target.labels, spans)


def values_of(outputs: Outputs, context: DecodeContext) -> Values:
    """Return the numbers of a model in their units, `[K]` float32, as a copy.

    Normalised outputs are clipped, so that each number is guaranteed to lie in its range.

    Raises:
        BundleError: The number of outputs does not match the names of the values.
    """
    numbers = np.concatenate([outputs[name].ravel() for name in sorted(outputs)]).astype(np.float32)
    if numbers.size != len(context.labels):
        msg = f"the variant outputs {numbers.size} numbers, but the model has {len(context.labels)} named values"
        raise BundleError(msg)
    if not context.decoding.normalised:
        return numbers
    low, high = np.array(context.decoding.ranges, np.float64).T
    return np.asarray(low + (np.clip(numbers.astype(np.float64), -1, 1) + 1) / 2 * (high - low), np.float32)


def normalised(values: NDArray[np.floating], decoding: Decoding) -> Values:
    """Convert values `[N,K]` in their units to normalised outputs of a network, `[N,K]`."""
    low, high = np.array(decoding.ranges, np.float64).T
    return np.asarray(np.clip(2 * (values - low) / (high - low) - 1, -1, 1), np.float32)


def _spans(decoding: Decoding) -> NDArray[np.float64]:
    low, high = np.array(decoding.ranges, np.float64).T
    return np.asarray(high - low)


def _seen_spans(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the width of the range of each column of `values` `[N,K]`.

    If all values of a column are equal, the width is their absolute value, or 1 if they are 0.
    """
    spans, size = np.ptp(values, axis=0), np.abs(values).max(axis=0)
    return np.where(spans > 0, spans, np.where(size > 0, size, 1.0))


TASK = RegressTask()

"""Compare the layers of a network on several engines, and find the first layer at which they differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.layers.trace import INPUT, Trace, TracedTensor
from orilla.runtime.preprocessing.input_kind import ModelInput

FLOAT_TOLERANCE, STEPS = 1e-3, 2.0
"""Largest differences between two layers that count as equal: relative to the values for float tensors, and in
quantisation steps for quantised tensors. Engines may add numbers in a different order and round differently."""

COMPARED = 4096
"""Number of values that are compared to recognise equal layers."""

MIN_LIKENESS = 0.2
"""Minimum similarity of two tensors with the same shape that can be the same layer, 0–1."""


@dataclass(frozen=True, slots=True)
class MappedLayer:
    """A layer on two engines."""

    tensor: str
    """Name of the tensor in the file of the first engine."""
    operator: str
    other_tensor: str
    """Name of the tensor in the file of the other engine."""
    other_operator: str
    difference: float
    """Root mean square of the differences, divided by that of the values on the first engine."""
    largest: float
    """Largest difference."""
    steps: float | None
    """`largest` in quantisation steps. None for float tensors."""
    differs: bool
    """True if the difference is larger than `STEPS` or, for float tensors, `FLOAT_TOLERANCE`."""


@dataclass(frozen=True, slots=True)
class EngineMap:
    """The layers that two engines have in common, in the order of the network."""

    engine: str
    variant: str
    layers: tuple[MappedLayer, ...]
    unmatched: int
    """Number of the first engine's layers that the other engine does not have, because it fuses them or runs another
    file."""

    @property
    def first(self) -> MappedLayer | None:
        """Return the first layer that differs, or None."""
        return next((layer for layer in self.layers if layer.differs), None)


Values = Mapping[str, NDArray[np.float32]]


def map_layers(engine: str, variant: str, traces: tuple[Trace, Trace], samples: Iterable[ModelInput]) -> EngineMap:
    """Run a network on two engines, and compare the tensors that correspond to each other.

    The names of the tensors can differ. Two tensors correspond if their shapes are equal and their values are similar.
    The pairs keep the order of both networks.

    Args:
        engine: Name of the second engine.
        variant: Variant that it runs.
        traces: The network on the first and on the second engine.
        samples: Prepared samples.

    Raises:
        DataError: The networks have no layer in common.
    """
    first, second = traces
    pairs: list[tuple[TracedTensor, TracedTensor]] = []
    sums: list[_Sums] = []
    count = 0
    for sample in samples:
        values, other_values = first.run(sample), second.run(sample)
        if not pairs:
            ours = [tensor for tensor in first.tensors if tensor.name in values]
            theirs = [tensor for tensor in second.tensors if tensor.name in other_values]
            count = len(ours)
            found = _pairs(ours, theirs, values, other_values)
            pairs = [(ours[place], theirs[other]) for place, other in found]
            sums = [_Sums() for _ in pairs]
        for (tensor, other), kept in zip(pairs, sums, strict=True):
            kept.add(values[tensor.name], other_values[other.name])
    if all(tensor.operator == INPUT for tensor, _ in pairs):
        msg = "the engines have no layer in common: choose variants of the same network"
        raise DataError(msg)
    layers = tuple(kept.layer(*pair) for pair, kept in zip(pairs, sums, strict=True))
    return EngineMap(engine, variant, layers, count - len(layers))


def _pairs(
    ours: Sequence[TracedTensor], theirs: Sequence[TracedTensor], values: Values, other_values: Values
) -> list[tuple[int, int]]:
    """Return the indices of the tensors that correspond to each other.

    The pairs have the largest possible total similarity.
    """
    likeness = np.zeros((len(ours), len(theirs)))
    for place, tensor in enumerate(ours):
        for other, candidate in enumerate(theirs):
            likeness[place, other] = _likeness(values[tensor.name], other_values[candidate.name])
    best = np.zeros((len(ours) + 1, len(theirs) + 1))
    for place in range(len(ours) - 1, -1, -1):
        for other in range(len(theirs) - 1, -1, -1):
            paired = likeness[place, other] + best[place + 1, other + 1] if likeness[place, other] > MIN_LIKENESS else 0
            best[place, other] = max(paired, best[place + 1, other], best[place, other + 1])
    found, place, other = [], 0, 0
    while place < len(ours) and other < len(theirs):
        worth = likeness[place, other]
        if worth > MIN_LIKENESS and math.isclose(best[place, other], worth + best[place + 1, other + 1]):
            found.append((place, other))
            place, other = place + 1, other + 1
        elif best[place, other] == best[place, other + 1]:
            other += 1
        else:
            place += 1
    return found


def _likeness(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the similarity of two tensors, at most 1. It is 0 if their shapes differ in every order of the axes."""
    turned = _like(ours, theirs)
    if turned is None:
        return 0.0
    step = max(1, ours.size // COMPARED)
    expected, found = ours.ravel()[::step].astype(np.float64), turned.ravel()[::step].astype(np.float64)
    power = float(np.square(expected).mean())
    error = float(np.square(expected - found).mean())
    return 1.0 if error == 0 else 1 / (1 + math.sqrt(error / power)) if power > 0 else 0.0


def _like(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Return a tensor with its axes in the order of another one, or None if the shapes differ.

    The channels of an image are the last axis in LiteRT and the second axis in ONNX.
    """
    candidates = [theirs]
    if theirs.ndim == ours.ndim and theirs.ndim > 2:
        candidates += [np.moveaxis(theirs, 1, -1), np.moveaxis(theirs, -1, 1)]
    same = [candidate for candidate in candidates if candidate.shape == ours.shape]
    if not same:
        return None
    return min(same, key=lambda candidate: float(np.abs(candidate - ours).sum())) if len(same) > 1 else same[0]


class _Sums:
    """Sums over the samples for one pair of tensors."""

    def __init__(self) -> None:
        self._power = self._error = self._largest = 0.0

    def add(self, expected: NDArray[np.float32], other: NDArray[np.float32]) -> None:
        """Add the values of one sample."""
        found = _like(expected, other)
        if found is None:  # The size of the tensor depends on the sample.
            return
        apart = expected.astype(np.float64) - found
        self._power += float(np.square(expected, dtype=np.float64).sum())
        self._error += float(np.square(apart).sum())
        self._largest = max(self._largest, float(np.abs(apart).max(initial=0.0)))

    def layer(self, tensor: TracedTensor, other: TracedTensor) -> MappedLayer:
        """Return the result."""
        difference = math.sqrt(self._error / self._power) if self._power > 0 else math.sqrt(self._error)
        step = max(tensor.step, other.step)
        steps = self._largest / step if step else None
        return MappedLayer(
            tensor.name,
            tensor.operator,
            other.name,
            other.operator,
            difference,
            self._largest,
            steps,
            difference > FLOAT_TOLERANCE if steps is None else steps > STEPS,
        )

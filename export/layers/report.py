"""Compare the layers of a quantised variant with those of the float variant, and find where the accuracy is lost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.export.layers.trace import Trace, TracedTensor
from orilla.runtime.preprocessing.input_kind import ModelInput

EXPLAINED = 0.8
"""Share of the total loss that the layers in `LayerReport.causes` explain together."""

MIN_ADDED = 0.002
"""Smallest loss of a layer that counts as a cause. It is the loss of a layer with a ratio of 27 dB in every channel."""

WIDE_CHANNEL = 32.0
"""If the largest channel of a tensor exceeds its median channel by this factor, the other channels have fewer than 8
of the 256 quantised values."""

SATURATED, UNUSED = 1e-3, 0.25
"""Limits of two shares at which a remark is printed: values outside the range, and the used part of the range."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One tensor of the network, compared between the float file and the quantised file."""

    tensor: str
    """Name of the tensor in the model file."""
    operator: str
    """Type of the operator that computes the tensor, or `input`."""
    sqnr_db: float | None
    """Signal-to-quantisation-noise ratio of the tensor in decibels, with the errors of all layers before it. None if
    the values are exact."""
    rounding_db: float | None
    """Signal-to-quantisation-noise ratio if only this tensor is rounded, in decibels. None if the tensor is not
    quantised or if the values are exact."""
    lost: float
    """Noise power divided by signal power, 0–1: the mean over the channels, each limited to 1. Every channel therefore
    has the same weight, even if its values are small and noise hides its signal."""
    added: float
    """Difference between `lost` of this tensor and of the worst tensor that its operator reads, at least 0."""
    rounding_lost: float
    """`lost` if only this tensor is rounded. 0 if the tensor is not quantised."""
    low: float
    high: float
    """Smallest and largest value in float."""
    span: tuple[float, float] | None
    """Smallest and largest value that the quantised tensor can represent. None if the tensor is not quantised."""
    saturated: float
    """Share of the values in float that are outside `span`."""
    channel_ratio: float
    """Largest absolute value of the largest channel, divided by that of the median channel."""

    @property
    def remark(self) -> str:
        """Return the probable reason for the loss in this tensor, or an empty string."""
        if self.span is None:
            return ""
        used = (self.high - self.low) / (self.span[1] - self.span[0])
        if self.saturated > SATURATED:
            return f"{100 * self.saturated:.1f} % of the values are outside the calibrated range"
        if self.channel_ratio > WIDE_CHANNEL:
            return f"one channel is {self.channel_ratio:.0f} x as large as the median channel"
        return f"only {100 * used:.0f} % of the calibrated range is used" if used < UNUSED else ""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """Comparison of a quantised variant with the float variant, in the order of the layers."""

    samples: int
    """Number of samples on which the layers were compared."""
    layers: tuple[Layer, ...]
    causes: tuple[str, ...]
    """Names of the tensors with the largest `added`, which together explain most of the loss. Empty if no layer loses
    a noticeable part of its signal."""

    def layer(self, tensor: str) -> Layer:
        """Return the layer with this tensor. Raise `KeyError` if there is none."""
        for layer in self.layers:
            if layer.tensor == tensor:
                return layer
        raise KeyError(tensor)


def layer_report(original: Trace, quantised: Trace, samples: Iterable[ModelInput]) -> LayerReport:
    """Run both files on the samples, and compare the tensors that have the same name.

    Args:
        original: Trace of the float file.
        quantised: Trace of the quantised file.
        samples: Prepared samples.

    Raises:
        DataError: There are no samples, or the files have no computed tensor in common.
    """
    theirs = {tensor.name: tensor for tensor in quantised.tensors}
    sums: dict[str, _Sums] = {}
    count = 0
    for sample in samples:
        count += 1
        expected, found = original.run(sample), quantised.run(sample)
        for tensor in original.tensors:
            values, other = expected.get(tensor.name), found.get(tensor.name)
            if values is None or other is None or values.shape != other.shape or not values.size:
                continue
            kept = sums.setdefault(tensor.name, _Sums(tensor, theirs[tensor.name]))
            kept.add(*(_by_channel(array, channels_first=original.channels_first) for array in (values, other)))
    if count == 0:
        msg = "no samples: the layers cannot be compared"
        raise DataError(msg)
    if all(kept.tensor.operator == "input" for kept in sums.values()):
        msg = "the float file and the quantised file have no layer with the same name"
        raise DataError(msg)
    layers: dict[str, Layer] = {}
    lost: dict[str, float] = {}
    for tensor in original.tensors:
        # A tensor that only the float file contains, such as the input of a fused activation, gets the loss of its
        # inputs.
        before = lost[tensor.name] = max((lost.get(name, 0.0) for name in tensor.reads), default=0.0)
        if tensor.name in sums:
            layers[tensor.name] = layer = sums[tensor.name].layer(before)
            lost[tensor.name] = layer.lost
    return LayerReport(count, tuple(layers.values()), _causes(layers.values()))


def _by_channel(array: NDArray[np.float32], *, channels_first: bool) -> NDArray[np.float64]:
    """Return the values of a tensor `[1,...]` as `[C,N]`. The values of a vector `[1,C]` are its channels."""
    if array.ndim < 2:
        return array.reshape(1, -1).astype(np.float64)
    # The outputs of a detector, `[1,C,N]` or `[1,N,C]`, have more positions than channels.
    first = channels_first and (array.ndim == 4 or (array.ndim == 3 and array.shape[1] < array.shape[2]))
    axis = 1 if first else array.ndim - 1
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)


class _Sums:
    """Sums over the samples for one tensor, per channel `[C]`."""

    def __init__(self, tensor: TracedTensor, quantised: TracedTensor) -> None:
        self.tensor = tensor
        self._quantised = quantised
        self._signal = self._noise = self._rounding = np.zeros(1)
        self._largest = np.zeros(1)
        self._low, self._high = math.inf, -math.inf
        self._outside = self._values = 0

    def add(self, expected: NDArray[np.float64], found: NDArray[np.float64]) -> None:
        """Add one sample: the values in float and the quantised values, each `[C,N]`."""
        self._signal = self._signal + np.square(expected).sum(axis=1)
        self._noise = self._noise + np.square(found - expected).sum(axis=1)
        self._largest = np.maximum(self._largest, np.abs(expected).max(axis=1))
        self._low = min(self._low, float(expected.min()))
        self._high = max(self._high, float(expected.max()))
        self._values += expected.size
        span, step = self._quantised.span, self._quantised.step
        if span is not None:
            low, high = span
            rounded = np.clip(low + np.round((expected - low) / step) * step, low, high)
            self._rounding = self._rounding + np.square(rounded - expected).sum(axis=1)
            self._outside += int(np.count_nonzero((expected < low - step / 2) | (expected > high + step / 2)))

    def layer(self, before: float) -> Layer:
        """Return the result. `before` is `Layer.lost` of the worst tensor that the operator reads."""
        lost = _lost(self._signal, self._noise)
        median = float(np.median(self._largest))
        return Layer(
            tensor=self.tensor.name,
            operator=self.tensor.operator,
            sqnr_db=_decibels(self._signal, self._noise),
            rounding_db=None if self._quantised.span is None else _decibels(self._signal, self._rounding),
            lost=lost,
            added=max(0.0, lost - before),
            rounding_lost=_lost(self._signal, self._rounding),
            low=self._low,
            high=self._high,
            span=self._quantised.span,
            saturated=self._outside / self._values,
            channel_ratio=float(self._largest.max()) / median if median > 0 else 1.0,
        )


def _lost(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> float:
    """Return the mean over the channels of noise divided by signal. Channels that are always 0 are ignored."""
    used = signal > 0
    ratios = np.minimum(np.broadcast_to(noise, signal.shape)[used] / signal[used], 1.0)
    return float(ratios.mean()) if ratios.size else 0.0


def _decibels(signal: NDArray[np.float64], noise: NDArray[np.float64]) -> float | None:
    total, error = float(signal.sum()), float(noise.sum())
    return None if error == 0 or total == 0 else 10 * math.log10(total / error)


def _causes(layers: Iterable[Layer]) -> tuple[str, ...]:
    """Return the fewest tensors whose `added` sums to the share `EXPLAINED` of the total, starting with the largest."""
    ranked = sorted((layer for layer in layers if layer.added >= MIN_ADDED), key=lambda layer: -layer.added)
    total, explained, causes = sum(layer.added for layer in ranked), 0.0, []
    for layer in ranked:
        if explained >= EXPLAINED * total:
            break
        causes.append(layer.tensor)
        explained += layer.added
    return tuple(causes)

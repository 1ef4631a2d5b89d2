"""The protocol of sessions, and the conversion of their inputs and outputs.

A session is a variant loaded on an engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.preprocessing.input_kind import ModelInput


class Quantization(msgspec.Struct, frozen=True):
    """Affine quantisation: `real = scale * (quantised - zero_point)`.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (2018), eq. 1.
    """

    scale: float
    zero_point: int

    def table(self, dtype: np.dtype) -> NDArray[np.generic]:
        """Return an array `[256]` of `dtype` with the quantised value of each pixel value 0–255."""
        return self.quantise(np.arange(256), dtype)

    def quantise(self, real: NDArray[np.generic], dtype: np.dtype) -> NDArray[np.generic]:
        """Quantise real numbers to `dtype`. Numbers outside the range are clipped."""
        limits = np.iinfo(dtype)
        steps = np.round(np.asarray(real, np.float64) / self.scale) + self.zero_point
        quantised: NDArray[np.generic] = np.clip(steps, limits.min, limits.max).astype(dtype)
        return quantised

    def span(self, dtype: np.dtype) -> tuple[float, float]:
        """Return the smallest and largest real number that quantised values of `dtype` represent."""
        limits = np.iinfo(dtype)
        return self.scale * (limits.min - self.zero_point), self.scale * (limits.max - self.zero_point)


class Session(Protocol):
    """A variant loaded on an engine. It is not thread-safe."""

    engine: str
    """Name and version of the engine."""
    span: tuple[float, float] | None
    """Smallest and largest possible value of the output. None if the output is float, or if there are several
    outputs."""

    def run(self, prepared: ModelInput) -> NDArray[np.float32]:
        """Run one inference.

        Args:
            prepared: Image `[h,w,3]` uint8, tokens `[T]` int32, or arrays by name. The session does not change it and
                does not refer to it after the call.

        Returns:
            The dequantised output, `[1,...]` float32. It is a copy. Several outputs are concatenated into one vector
            `[1,D]`, in the order of their names.

        Raises:
            EngineError: The engine failed.
        """

    def close(self) -> None:
        """Release the engine. Later calls of `run` fail."""


@runtime_checkable
class Recoverable(Protocol):
    """A session that keeps working if its accelerator is lost, and that reports and counts such events."""

    on_event: Callable[[str], None] | None
    """Function that receives a one-line description of each event. The inference thread calls it."""

    @property
    def counts(self) -> Mapping[str, int]:
        """Return the number of events, by kind of event."""


class NotOfferedError(EngineError):
    """Raised if the installed engine was built without the requested feature."""


class Slot(msgspec.Struct, frozen=True):
    """An input or output of a model file, as its engine reports it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    quantisation: Quantization | None


MAX_VALUES = 1 << 28
"""Maximum number of values of one input."""


class Inputs:
    """Converts prepared samples into the input tensors of a variant."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._inputs = {slot.name: _Input(slot) for slot in slots}

    def tensors(self) -> list[NDArray[np.generic]]:
        """Allocate the input tensors, each `[1,...]`, in the order of the slots. Not all engines need this method."""
        return [np.empty(converter.shape, converter.dtype) for converter in self._inputs.values()]

    def fill(self, prepared: ModelInput, tensors: Sequence[NDArray[np.generic]]) -> None:
        """Quantise a sample as the variant needs it, and write it into the engine's input tensors.

        Args:
            prepared: The sample, as for `Session.run`. It is not changed.
            tensors: Tensors to write, each `[1,...]`, in the order of the slots.

        Raises:
            BundleError: The shape or the names differ from those of the variant.
        """
        for converter, array, tensor in zip(self._inputs.values(), self._ordered(prepared), tensors, strict=True):
            converter.fill(array, tensor)

    def _ordered(self, prepared: ModelInput) -> list[NDArray[Any]]:
        if not isinstance(prepared, Mapping):
            if len(self._inputs) != 1:
                msg = f"the variant takes {len(self._inputs)} arrays by name: {', '.join(self._inputs)}"
                raise BundleError(msg)
            return [prepared]
        if len(prepared) == len(self._inputs) == 1:
            return list(prepared.values())
        if set(prepared) != set(self._inputs):
            msg = f"the variant takes the arrays {', '.join(self._inputs)}, got {', '.join(prepared)}"
            raise BundleError(msg)
        return [prepared[name] for name in self._inputs]


class _Input:
    """Converts the arrays of one input."""

    def __init__(self, slot: Slot) -> None:
        shape, dtype = slot.shape, slot.dtype
        if len(shape) < 2 or shape[0] != 1 or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            msg = f"the variant's input has shape {list(shape)}: expected one sample, [1,...]"
            raise BundleError(msg)
        self.shape, self.dtype = shape, dtype
        self._quantisation = slot.quantisation
        self._table: NDArray[np.generic] | None = None
        if dtype.itemsize == 1 and slot.quantisation is None:
            msg = f"the variant's input has type {dtype}, but no scale and zero point"
            raise BundleError(msg)
        if slot.quantisation is not None and dtype.itemsize == 1:
            self._table = slot.quantisation.table(dtype)
        self._as_is = slot.quantisation is None or (
            self._table is not None and np.array_equal(self._table, np.arange(256))
        )

    def fill(self, prepared: NDArray[Any], tensor: NDArray[np.generic]) -> None:
        if prepared.shape != self.shape[1:]:
            expected = list(self.shape[1:])
            msg = f"the prepared input has shape {list(prepared.shape)}, but the variant takes {expected}"
            raise BundleError(msg)
        if self._as_is and (self._quantisation is None or prepared.dtype == np.uint8):
            np.copyto(tensor[0], prepared, casting="unsafe")
        elif self._table is not None and prepared.dtype == np.uint8 and prepared.ndim == 3:
            cv2.LUT(prepared, self._table, dst=tensor[0])
        else:
            assert self._quantisation is not None
            tensor[0] = self._quantisation.quantise(prepared, self.dtype)


def joined(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return a single output unchanged, or concatenate several into one vector `[1,D]`."""
    if len(outputs) == 1:
        return outputs[0]
    return np.concatenate([output.reshape(1, -1) for output in outputs], axis=1)


def dequantise(output: NDArray[np.generic], quantisation: Quantization | None) -> NDArray[np.float32]:
    """Convert quantised numbers into real numbers in float32. If `quantisation` is None, convert only the type."""
    if quantisation is None:
        return output.astype(np.float32, copy=False)
    return (output.astype(np.float32) - np.float32(quantisation.zero_point)) * np.float32(quantisation.scale)

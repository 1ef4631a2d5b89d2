"""A session: one variant loaded on one engine, arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.preprocessing.preprocessor import ModelInput


class Quantization(msgspec.Struct, frozen=True):
    """Affine quantisation, `real = scale * (quantised - zero_point)`.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (2018), eq. 1.
    """

    scale: float
    zero_point: int

    def table(self, dtype: np.dtype) -> NDArray[np.generic]:
        """The quantised value of each picture value 0-255, `[256]` of `dtype`."""
        return self.quantise(np.arange(256), dtype)

    def quantise(self, real: NDArray[np.generic], dtype: np.dtype) -> NDArray[np.generic]:
        """Real numbers as `dtype`; those out of range become the nearest that it has."""
        limits = np.iinfo(dtype)
        steps = np.round(np.asarray(real, np.float64) / self.scale) + self.zero_point
        quantised: NDArray[np.generic] = np.clip(steps, limits.min, limits.max).astype(dtype)
        return quantised

    def span(self, dtype: np.dtype) -> tuple[float, float]:
        """The least and the greatest real number that `dtype` can hold."""
        limits = np.iinfo(dtype)
        return self.scale * (limits.min - self.zero_point), self.scale * (limits.max - self.zero_point)


class Session(Protocol):
    """What every engine makes of a variant. Not for use by two threads at once."""

    engine: str
    """Name and version of what runs it."""
    span: tuple[float, float] | None
    """The least and the greatest number that its output can say; None where it is float, or there are several."""

    def run(self, prepared: ModelInput) -> NDArray[np.float32]:
        """One inference.

        Args:
            prepared: `[h,w,3]` uint8, `[T]` int32 tokens, or arrays by name; read only, free again when the call
                returns.

        Returns:
            The output as real numbers, `[1,...]` float32, the caller's own; of several outputs one vector `[1,D]`,
            one after the other in the order of their names.

        Raises:
            EngineError: the engine failed.
        """

    def close(self) -> None:
        """Frees the engine's memory."""


@runtime_checkable
class Recoverable(Protocol):
    """A session that survives the loss of its accelerator: it reports what happened and counts it."""

    on_event: Callable[[str], None] | None
    """Called in the inferring thread with one line for each loss, replacement and return."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often each of these happened, by name."""


class NotOfferedError(EngineError):
    """The engine was built without what was asked for."""


class Slot(msgspec.Struct, frozen=True):
    """An input or output of a model file, as its engine tells of it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    quantisation: Quantization | None


MAX_VALUES = 1 << 28
"""Of one input."""


class Inputs:
    """Puts a prepared sample into the form that a variant's input tensors have."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._inputs = {slot.name: _Input(slot) for slot in slots}

    def tensors(self) -> list[NDArray[np.generic]]:
        """Memory for an engine that has none to be written into: `[1,...]` each, in the order of the slots."""
        return [np.empty(one.shape, one.dtype) for one in self._inputs.values()]

    def fill(self, prepared: ModelInput, tensors: Sequence[NDArray[np.generic]]) -> None:
        """Writes a sample into the engine's input tensors, quantised as they need it.

        Args:
            prepared: as `Session.run` takes it; read only.
            tensors: `[1,...]` each, in the order of the slots; written.

        Raises:
            BundleError: another shape than the variant takes, or arrays of other names.
        """
        for one, array, tensor in zip(self._inputs.values(), self._ordered(prepared), tensors, strict=True):
            one.fill(array, tensor)

    def _ordered(self, prepared: ModelInput) -> list[NDArray[Any]]:
        if not isinstance(prepared, Mapping):
            if len(self._inputs) != 1:
                msg = f"the variant takes {len(self._inputs)} arrays: {', '.join(self._inputs)}"
                raise BundleError(msg)
            return [prepared]
        if len(prepared) == len(self._inputs) == 1:
            return list(prepared.values())
        if set(prepared) != set(self._inputs):
            msg = f"the variant takes {', '.join(self._inputs)}, not {', '.join(prepared)}"
            raise BundleError(msg)
        return [prepared[name] for name in self._inputs]


class _Input:
    def __init__(self, slot: Slot) -> None:
        shape, dtype = slot.shape, slot.dtype
        if len(shape) < 2 or shape[0] != 1 or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            msg = f"the variant's input is {list(shape)}: expected one sample, [1,...]"
            raise BundleError(msg)
        self.shape, self.dtype = shape, dtype
        self._quantisation = slot.quantisation
        self._table: NDArray[np.generic] | None = None
        if dtype.itemsize == 1 and slot.quantisation is None:
            msg = f"the variant's input is {dtype} without scale and zero point"
            raise BundleError(msg)
        if slot.quantisation is not None and dtype.itemsize == 1:
            self._table = slot.quantisation.table(dtype)
        self._as_is = slot.quantisation is None or (
            self._table is not None and np.array_equal(self._table, np.arange(256))
        )

    def fill(self, prepared: NDArray[Any], tensor: NDArray[np.generic]) -> None:
        if prepared.shape != self.shape[1:]:
            expected = list(self.shape[1:])
            msg = f"prepared input is {list(prepared.shape)}, the variant takes {expected}"
            raise BundleError(msg)
        if self._as_is and (self._quantisation is None or prepared.dtype == np.uint8):
            np.copyto(tensor[0], prepared, casting="unsafe")
        elif self._table is not None and prepared.dtype == np.uint8 and prepared.ndim == 3:
            cv2.LUT(prepared, self._table, dst=tensor[0])
        else:
            assert self._quantisation is not None
            tensor[0] = self._quantisation.quantise(prepared, self.dtype)


def joined(outputs: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One output as it is, several as one vector `[1,D]`."""
    if len(outputs) == 1:
        return outputs[0]
    return np.concatenate([output.reshape(1, -1) for output in outputs], axis=1)


def dequantise(output: NDArray[np.generic], quantisation: Quantization | None) -> NDArray[np.float32]:
    """Quantised numbers as real ones, float32; float ones pass unchanged."""
    if quantisation is None:
        return output.astype(np.float32, copy=False)
    return (output.astype(np.float32) - np.float32(quantisation.zero_point)) * np.float32(quantisation.scale)

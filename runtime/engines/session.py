"""The protocol of sessions, and the conversion of their inputs and outputs.

A session is a variant loaded on an engine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError, EngineError
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.preprocessing.quantization import Quantization, dequantise


class Session(Protocol):
    """A variant loaded on an engine. It is not thread-safe."""

    engine: str
    """Name and version of the engine."""
    inputs: tuple[Slot, ...]
    """Inputs of the model file."""
    outputs: tuple[Slot, ...]
    """Outputs of the model file."""

    def run(self, prepared: ModelInput) -> dict[str, NDArray[np.float32]]:
        """Run one inference.

        Args:
            prepared: Image `[h,w,c]` uint8, tokens `[T]` int32, or arrays by name. The session does not change it and
                does not refer to it after the call.

        Returns:
            The dequantised outputs by name, float32, without the batch axis. They are copies.

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
        """Return the number of events for each kind of event."""


class NotOfferedError(EngineError):
    """Raised if the installed engine was built without the requested feature."""


class Slot(msgspec.Struct, frozen=True):
    """An input or output of a model file, as its engine reports it."""

    name: str
    shape: tuple[int, ...]
    """Shape with the batch axis. The size of an axis that is not fixed is 0."""
    dtype: np.dtype
    quantisation: Quantization | None

    @property
    def span(self) -> tuple[float, float] | None:
        """Return the smallest and largest real number that the slot represents, or None if it is not quantised."""
        return None if self.quantisation is None else self.quantisation.span(self.dtype)


@dataclass(frozen=True)
class Binding:
    """Mapping between the names and pixel values of a bundle and those of a model file."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    """Maps the name of each input in the model file to its name in the bundle. Inputs whose names are equal can be
    omitted."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Maps the name of each output in the model file to its name in the bundle. Outputs whose names are equal can be
    omitted."""
    output_names: tuple[str, ...] = ()
    """Names of the outputs in the bundle. If the file has only one output and there is only one name, the output gets
    this name, whatever its name in the file is. If empty, the outputs keep their names in the model file."""
    pixel_values: NDArray[np.float32] | None = None
    """Network input value for each pixel value 0–255, `[256]` or `[256,C]`. If None, pixel values are passed to the
    network unchanged."""


UNBOUND = Binding()
"""Binding for a model file without a bundle. Names and pixel values are not changed."""

MAX_VALUES = 1 << 28
"""Maximum number of values of one input."""


class Inputs:
    """Converts prepared samples into the input tensors of a variant.

    Args:
        slots: Inputs of the model file.
        binding: Mapping of the names and pixel values.
    """

    def __init__(self, slots: Sequence[Slot], binding: Binding = UNBOUND) -> None:
        self._inputs = {binding.inputs.get(slot.name, slot.name): _Input(slot, binding.pixel_values) for slot in slots}

    def tensors(self) -> list[NDArray[np.generic]]:
        """Allocate the input tensors, each `[1,...]`, in the order of the slots. Not all engines need this method."""
        return [np.empty(converter.shape, converter.dtype) for converter in self._inputs.values()]

    def fill(self, prepared: ModelInput, tensors: Sequence[NDArray[np.generic]]) -> None:
        """Convert a sample to the form that the variant needs, and write it into the engine's input tensors.

        Args:
            prepared: The sample, in the form that `Session.run` takes. It is not changed.
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

    def __init__(self, slot: Slot, pixel_values: NDArray[np.float32] | None) -> None:
        shape, dtype = slot.shape, slot.dtype
        if not shape or shape[0] != 1 or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            msg = f"the variant's input has shape {list(shape)}: expected one sample, [1,...]"
            raise BundleError(msg)
        self.shape, self.dtype = shape, dtype
        self._quantisation = slot.quantisation
        if dtype.itemsize == 1 and slot.quantisation is None and (pixel_values is not None or dtype != np.uint8):
            msg = f"the variant's input has type {dtype}, but no scale and zero point"
            raise BundleError(msg)
        self._table = _pixel_table(slot, pixel_values)
        self._is_shifted = _is_shifted(self._table)
        self._planes_hwc = (*shape[2:], shape[1]) if len(shape) == 4 else ()
        """Shape `[h,w,c]` of an image that is transposed to fill this input `[1,c,h,w]`. Empty if the input does not
        have four axes."""
        self._channels_chw = (shape[3], *shape[1:3]) if len(shape) == 4 else ()
        """Shape `[c,h,w]` of an array that is transposed to fill this input `[1,h,w,c]`. Empty if the input does not
        have four axes."""

    def fill(self, prepared: NDArray[Any], tensor: NDArray[np.generic]) -> None:
        """Write a sample into a tensor `[1,...]`.

        The tensor of an image `[h,w,c]` may also be `[1,c,h,w]`, and that of an array `[c,h,w]` may be `[1,h,w,c]`.
        """
        # `tensor[0]` would be a number instead of an array if the input is a scalar.
        if prepared.shape == self.shape[1:]:
            self._convert(prepared, tensor[0, ...], self._table)
        elif prepared.shape == self._planes_hwc:
            for channel, plane in enumerate(cv2.split(prepared)):
                table = self._table if self._table is None or self._table.ndim == 1 else self._table[:, channel]
                self._convert(plane, tensor[0, channel], table)
        elif prepared.shape == (*self.shape[1:], 1):
            self._convert(prepared[..., 0], tensor[0, ...], self._table)
        elif prepared.shape == self._channels_chw and self._table is None:
            self._convert(np.moveaxis(prepared, 0, -1), tensor[0], None)
        else:
            expected = list(self.shape[1:])
            msg = f"the prepared input has shape {list(prepared.shape)}, but the variant takes {expected}"
            raise BundleError(msg)

    def _convert(self, values: NDArray[Any], tensor: NDArray[np.generic], table: NDArray[np.generic] | None) -> None:
        if self._is_shifted and values.dtype == np.uint8:
            # In two's complement, flipping the highest bit subtracts 128. This is several times faster than the table.
            np.bitwise_xor(values, np.uint8(0x80), out=tensor.view(np.uint8))
        elif table is not None and values.dtype == np.uint8 and values.ndim > 1:
            cv2.LUT(values, np.ascontiguousarray(table) if table.ndim == 1 else table[:, None], dst=tensor)
        elif self._quantisation is None or (self._takes_pixels and values.dtype == np.uint8):
            np.copyto(tensor, values, casting="unsafe")
        else:
            tensor[...] = self._quantisation.quantise(values, self.dtype)

    @property
    def _takes_pixels(self) -> bool:
        """True if the tensor's value for each pixel value is the pixel value itself."""
        return self._table is None


def _pixel_table(slot: Slot, pixel_values: NDArray[np.float32] | None) -> NDArray[np.generic] | None:
    """Return the value of the input tensor for each pixel value, `[256]` or `[256,C]`.

    Return None if the tensor contains the pixel values themselves.
    """
    if slot.quantisation is None:
        return None if pixel_values is None else pixel_values.astype(slot.dtype)
    values = np.arange(256, dtype=np.float32) if pixel_values is None else pixel_values
    table = slot.quantisation.quantise(values, slot.dtype)
    unchanged = table.ndim == 1 and slot.dtype == np.uint8 and np.array_equal(table, np.arange(256))
    return None if unchanged else table


def _is_shifted(table: NDArray[np.generic] | None) -> bool:
    """Return True if the input tensor contains the pixel values minus 128, as int8."""
    return (
        table is not None and table.ndim == 1 and table.dtype == np.int8 and np.array_equal(table, np.arange(-128, 128))
    )


class OutputConverter:
    """Converts the output tensors of a variant into dequantised arrays by name.

    Args:
        slots: Outputs of the model file.
        binding: Names of the outputs in the bundle.

    Raises: BundleError: The outputs of the file differ from those that the bundle declares.
    """

    def __init__(self, slots: Sequence[Slot], binding: Binding = UNBOUND) -> None:
        names = [binding.outputs.get(slot.name, slot.name) for slot in slots]
        if len(slots) == len(binding.output_names) == 1:
            names = list(binding.output_names)
        if binding.output_names and set(names) != set(binding.output_names):
            msg = f"the variant outputs {', '.join(names)}, but the bundle declares {', '.join(binding.output_names)}"
            raise BundleError(msg)
        self._outputs = list(zip(names, slots, strict=True))

    def convert(self, arrays: Sequence[NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name, without the batch axis.

        Args:
            arrays: Output tensors in the order of the slots. They must not be views of the engine's memory.
        """
        return {
            name: dequantise(array[0] if array.ndim and len(array) == 1 else array, slot.quantisation)
            for (name, slot), array in zip(self._outputs, arrays, strict=True)
        }

"""Descriptions of the named inputs and outputs of a network, without the batch axis."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError

Outputs = Mapping[str, NDArray[np.float32]]
"""Outputs of a network for one sample by name, dequantised, without the batch axis."""

MAX_VALUES = 1 << 26
"""Maximum total number of values of all inputs, and of all outputs."""

MAX_AXES = 8
"""Maximum number of axes in an array."""

DTYPES = ("float32", "float64", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
"""Types of arrays that a bundle may declare."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output of a network, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


def problem(specs: Sequence[TensorSpec]) -> str | None:
    """Return an error message if the inputs or the outputs of a network are invalid, or None."""
    if len({spec.name for spec in specs}) < len(specs) or sum(spec.size for spec in specs) > MAX_VALUES:
        return "two arrays have the same name, or all arrays together are too large"
    for spec in specs:
        in_range = len(spec.shape) <= MAX_AXES and all(1 <= axis <= MAX_VALUES for axis in spec.shape)
        if spec.dtype not in DTYPES or not in_range:
            shape = list(spec.shape)[: MAX_AXES + 1]
            return f"array {spec.name} has the shape {shape} and type {spec.dtype}, which are not supported"
    return None


def pack(arrays: Mapping[str, NDArray[Any]], specs: Sequence[TensorSpec], dtype: Any) -> NDArray[Any]:
    """Return the arrays of a sample as one vector of `dtype`, one array after the other, in the order of `specs`."""
    return np.concatenate([np.asarray(arrays[spec.name], dtype).ravel() for spec in specs])


def unpack(vector: NDArray[Any], specs: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Split a vector that `pack` returned. The arrays are views of the vector.

    Raises:
        DataError: The vector does not have as many values as the arrays of `specs`.
    """
    flat = vector.ravel()
    if flat.size != sum(spec.size for spec in specs):
        shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs)
        msg = f"got {flat.size} values, but the arrays {shapes} have {sum(spec.size for spec in specs)}"
        raise DataError(msg)
    ends = np.cumsum([spec.size for spec in specs]).tolist()
    return {spec.name: flat[end - spec.size : end].reshape(spec.shape) for spec, end in zip(specs, ends, strict=True)}


def only(outputs: Outputs) -> NDArray[np.float32]:
    """Return the only output of a network. Raise `DataError` if there are several outputs."""
    if len(outputs) != 1:
        msg = f"expected one output, got {len(outputs)}: {', '.join(outputs)}"
        raise DataError(msg)
    return next(iter(outputs.values()))


def per_sample(outputs: Outputs) -> Iterator[Outputs]:
    """Yield the outputs of each sample.

    Args:
        outputs: Outputs for several samples by name, each `[N,...]`.
    """
    for arrays in zip(*outputs.values(), strict=True):
        yield dict(zip(outputs, arrays, strict=True))

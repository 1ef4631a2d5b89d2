"""Preprocessing and results of models whose inputs and outputs are arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError

Arrays = Mapping[str, NDArray[np.generic]]
"""Arrays of one sample by name, without the batch axis."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output of a network, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Return the number of values."""
        return math.prod(self.shape)


class TensorPreprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tensor"):
    """Preprocessing of arrays. The type is converted, and the values stay the same."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    """Outputs in the order of their names."""

    def check(self, sample: Arrays | NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Convert the arrays of a sample into the types of the network.

        For a network with one input, a single array is accepted.

        Raises:
            DataError: An array is missing or unknown, has a wrong shape or type, or contains NaN or infinity.
        """
        arrays = sample if isinstance(sample, Mapping) else {self.inputs[0].name: sample}
        names = {spec.name for spec in self.inputs}
        if set(arrays) != names:
            msg = f"expected the arrays {', '.join(sorted(names))}, got {', '.join(sorted(arrays)) or 'none'}"
            raise DataError(msg)
        return {spec.name: _converted(spec, arrays[spec.name]) for spec in self.inputs}

    def pack(self, arrays: Arrays) -> NDArray[np.float64]:
        """Pack a sample into one vector, one input after the other.

        The type is float64, which represents every int32 exactly.
        """
        return np.concatenate([np.asarray(arrays[spec.name], np.float64).ravel() for spec in self.inputs])

    def unpack(self, vector: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Unpack a vector that `pack` returned. Raise `DataError` if its length is wrong."""
        return {name: array.astype(np.dtype(dtype)) for name, array, dtype in _split(vector, self.inputs)}

    def results(self, output: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Split the output of a session into arrays by name. Raise `DataError` if its size is wrong."""
        return {name: array.astype(np.float32) for name, array, _ in _split(output, self.outputs)}


def _converted(spec: TensorSpec, array: NDArray[np.generic]) -> NDArray[np.generic]:
    values = np.asarray(array)
    if values.shape != spec.shape:
        msg = f"array {spec.name} has shape {list(values.shape)}, but the network takes {list(spec.shape)}"
        raise DataError(msg)
    if values.dtype.kind not in "iufb" or (values.dtype.kind == "f" and np.dtype(spec.dtype).kind in "iu"):
        msg = f"array {spec.name} has type {values.dtype}, but the network takes {spec.dtype}"
        raise DataError(msg)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        msg = f"array {spec.name} contains NaN or infinity"
        raise DataError(msg)
    return np.ascontiguousarray(values, np.dtype(spec.dtype))


def _split(vector: NDArray[np.generic], specs: tuple[TensorSpec, ...]) -> list[tuple[str, NDArray[np.generic], str]]:
    flat = vector.ravel()
    if flat.size != sum(spec.size for spec in specs):
        shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs)
        msg = f"got {flat.size} values, but the arrays {shapes} have {sum(spec.size for spec in specs)}"
        raise DataError(msg)
    ends = np.cumsum([spec.size for spec in specs]).tolist()
    return [
        (spec.name, flat[end - spec.size : end].reshape(spec.shape), spec.dtype)
        for spec, end in zip(specs, ends, strict=True)
    ]

"""Inputs and outputs of models of arrays, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError

Arrays = Mapping[str, NDArray[np.generic]]
"""Arrays of one sample by name, without a batch axis."""


class TensorSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An input or output of a network, without the batch axis."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        return math.prod(self.shape)


class TensorPreprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tensor"):
    """Preprocessing of arrays, which changes nothing."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    """Outputs in name order."""

    def check(self, given: Arrays | NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Convert a sample's arrays into the network's types. One array is enough for a network with one input.

        Raises:
            DataError: An array is missing, unknown, of another shape or kind, or contains NaN or infinity.
        """
        named = given if isinstance(given, Mapping) else {self.inputs[0].name: given}
        wanted = {spec.name for spec in self.inputs}
        if set(named) != wanted:
            msg = f"expected the arrays {', '.join(sorted(wanted))}, got {', '.join(sorted(named)) or 'none'}"
            raise DataError(msg)
        return {spec.name: _checked(spec, named[spec.name]) for spec in self.inputs}

    def pack(self, arrays: Arrays) -> NDArray[np.float64]:
        """Pack a sample into one vector, one input after the other. float64 can hold every int32."""
        return np.concatenate([np.asarray(arrays[spec.name], np.float64).ravel() for spec in self.inputs])

    def unpack(self, vector: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Unpack a vector of `pack`. Raises `DataError` for another length."""
        return {name: array.astype(np.dtype(dtype)) for name, array, dtype in _crop(vector, self.inputs)}

    def results(self, output: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return a session's outputs by name, each with its shape. Raises `DataError` for another size."""
        return {name: array.astype(np.float32) for name, array, _ in _crop(output, self.outputs)}


class ArrayResult(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Answer of a model of arrays."""

    arrays: dict[str, NDArray[np.float32]]
    """Outputs by name; the result owns them."""

    def to_dict(self) -> dict[str, object]:
        """Return the result as a JSON document."""
        return {"task": "tensor", "arrays": {name: array.tolist() for name, array in self.arrays.items()}}


def _checked(spec: TensorSpec, array: NDArray[np.generic]) -> NDArray[np.generic]:
    given = np.asarray(array)
    if given.shape != spec.shape:
        msg = f"array {spec.name} is {list(given.shape)}, but the network takes {list(spec.shape)}"
        raise DataError(msg)
    if given.dtype.kind not in "iufb" or (given.dtype.kind == "f" and np.dtype(spec.dtype).kind in "iu"):
        msg = f"array {spec.name} is {given.dtype}, but the network takes {spec.dtype}"
        raise DataError(msg)
    if given.dtype.kind == "f" and not np.isfinite(given).all():
        msg = f"array {spec.name} contains NaN or infinity"
        raise DataError(msg)
    return np.ascontiguousarray(given, np.dtype(spec.dtype))


def _crop(vector: NDArray[np.generic], specs: tuple[TensorSpec, ...]) -> list[tuple[str, NDArray[np.generic], str]]:
    flat = vector.ravel()
    if flat.size != sum(spec.size for spec in specs):
        msg = f"{flat.size} numbers for {', '.join(f'{one.name} {list(one.shape)}' for one in specs)}"
        raise DataError(msg)
    ends = np.cumsum([spec.size for spec in specs]).tolist()
    return [
        (spec.name, flat[end - spec.size : end].reshape(spec.shape), spec.dtype)
        for spec, end in zip(specs, ends, strict=True)
    ]

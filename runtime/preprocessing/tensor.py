"""Preprocessing of models whose inputs and outputs are arrays."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.input_kind import Comparison, InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.npy import MAX_AXES, decode_npy, encode_npy

DTYPES = ("float32", "float64", "int32", "int64", "uint8", "int8", "bool")
"""Types of arrays that a bundle may declare."""

MAX_VALUES = 1 << 26
"""Maximum number of values of all inputs together, and of all outputs together."""

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

    input_kind: ClassVar = "tensor"
    needs_vocabulary: ClassVar = False

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    """Outputs in the order of their names."""

    def describe(self) -> str:
        """Return name, shape and type of each input."""
        return ", ".join(f"{tensor.name} {list(tensor.shape)} {tensor.dtype}" for tensor in self.inputs)

    def problem(self) -> str | None:
        """Return what is wrong with the specification, or None."""
        if not self.inputs or not self.outputs:
            return "a model that takes arrays needs inputs and outputs"
        for side in (self.inputs, self.outputs):
            if len({tensor.name for tensor in side}) < len(side) or sum(tensor.size for tensor in side) > MAX_VALUES:
                return "two arrays have the same name, or all arrays together are too large"
        for tensor in (*self.inputs, *self.outputs):
            if (
                tensor.dtype not in DTYPES
                or len(tensor.shape) > MAX_AXES
                or not all(1 <= axis <= MAX_VALUES for axis in tensor.shape)
            ):
                shape = list(tensor.shape)[: MAX_AXES + 1]
                return f"array {tensor.name} has shape {shape} and type {tensor.dtype}: out of range"
        return None

    def preprocessor(self, vocabulary: Sequence[str] = ()) -> ArrayPreprocessor:
        """Return the preprocessor. `vocabulary` is ignored."""
        del vocabulary
        return ArrayPreprocessor(self)

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


class ArrayPreprocessor(InputPreprocessor):
    """Prepares arrays.

    Args:
        spec: Preprocessing of the network.
    """

    kind = "tensor"
    contents = "arrays (.npz)"
    raw_suffix = ".npy"
    prepared_suffix = ".npy"

    def __init__(self, spec: TensorPreprocess) -> None:
        self.spec: TensorPreprocess = spec

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return tuple(spec.name for spec in self.spec.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the number of values of all inputs together."""
        return (sum(spec.size for spec in self.spec.inputs),)

    def __call__(
        self, raw: RawInput, out: NDArray[np.uint8] | None = None, *, color: Literal["bgr", "rgb"] = "bgr"
    ) -> dict[str, NDArray[np.generic]]:
        """Convert the arrays of a sample. See `TensorPreprocess.check`."""
        del out, color
        if isinstance(raw, str):
            msg = "expected arrays by name, got a string"
            raise DataError(msg)
        return self.spec.check(raw)

    def digest(self, raw: RawInput) -> str:
        """Return the SHA-256 (hex) of the packed arrays."""
        assert isinstance(raw, Mapping)
        return hashlib.sha256(self.spec.pack(raw).tobytes()).hexdigest()

    def encode_raw(self, raw: RawInput, name: str) -> tuple[bytes, RawInput]:
        """Return the packed arrays as a `.npy` file, and the arrays in the types of the network."""
        del name
        assert not isinstance(raw, str)
        arrays = self.spec.check(raw)
        return encode_npy(self.spec.pack(arrays)), arrays

    def decode_raw(self, data: bytes, name: str) -> dict[str, NDArray[np.generic]]:
        """Decode packed arrays."""
        packed = decode_npy(data, name, (np.float64,))
        self.check_shape(packed, name)
        return self.spec.unpack(packed)

    def encode_prepared(self, prepared: ModelInput) -> bytes:
        """Return the packed arrays as a `.npy` file. The file is identical to that of the raw input."""
        assert isinstance(prepared, Mapping)
        return encode_npy(self.spec.pack(prepared))

    def decode_prepared(self, data: bytes, name: str) -> dict[str, NDArray[np.generic]]:
        """Decode packed arrays."""
        return self.decode_raw(data, name)

    def compare(self, raws: Sequence[RawInput], recorded: Sequence[ModelInput]) -> Comparison:
        """Report that nothing is compared, because the values of arrays do not change."""
        del raws, recorded
        return Comparison("prepare", passed=True, detail="arrays are passed unchanged")


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

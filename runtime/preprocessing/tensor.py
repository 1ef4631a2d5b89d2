"""Preprocessing of models whose inputs and outputs are arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.input_kind import Comparison, InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.npy import decode_npy, encode_npy
from orilla.runtime.preprocessing.tensor_spec import TensorSpec, pack, problem, unpack

Arrays = Mapping[str, NDArray[np.generic]]
"""Arrays of one sample by name, without the batch axis."""


class TensorPreprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="tensor"):
    """Preprocessing of arrays. The type is converted, and the values stay the same."""

    input_kind: ClassVar[str] = "tensor"
    needs_vocabulary: ClassVar[bool] = False
    takes_images: ClassVar[bool] = False
    pixel_values: ClassVar[None] = None

    inputs: tuple[TensorSpec, ...]

    def describe(self) -> str:
        """Return name, shape and type of each input."""
        return ", ".join(f"{tensor.name} {list(tensor.shape)} {tensor.dtype}" for tensor in self.inputs)

    def problem(self) -> str | None:
        """Return an error message if the specification is invalid, or None."""
        if not self.inputs:
            return "a model that takes arrays needs inputs"
        return problem(self.inputs)

    def preprocessor(self, vocabulary: Sequence[str] = ()) -> ArrayPreprocessor:
        """Return the preprocessor. `vocabulary` is ignored."""
        del vocabulary
        return ArrayPreprocessor(self)

    def check(self, sample: Arrays | NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Convert the arrays of a sample into the types of the network.

        For a network with one input, a single array is accepted, with or without a name.

        Raises:
            DataError: An array is missing or unknown, has a wrong shape or type, or contains NaN or infinity.
        """
        arrays = sample if isinstance(sample, Mapping) else {self.inputs[0].name: sample}
        if len(arrays) == len(self.inputs) == 1:
            arrays = {self.inputs[0].name: next(iter(arrays.values()))}
        names = {spec.name for spec in self.inputs}
        if set(arrays) != names:
            msg = f"expected the arrays {', '.join(sorted(names))}, got {', '.join(sorted(arrays)) or 'none'}"
            raise DataError(msg)
        return {spec.name: _converted(spec, arrays[spec.name]) for spec in self.inputs}

    def pack(self, arrays: Arrays) -> NDArray[np.float64]:
        """Pack a sample into one vector. The type is float64, which represents every int32 exactly."""
        return pack(arrays, self.inputs, np.float64)

    def unpack(self, vector: NDArray[np.generic]) -> dict[str, NDArray[np.generic]]:
        """Unpack a vector that `pack` returned. Raise `DataError` if its length is wrong."""
        dtypes = {spec.name: np.dtype(spec.dtype) for spec in self.inputs}
        return {name: array.astype(dtypes[name]) for name, array in unpack(vector, self.inputs).items()}


class ArrayPreprocessor(InputPreprocessor):
    """Prepares arrays for a network.

    Args:
        spec: Preprocessing of the network.
    """

    kind = "tensor"
    contents = "arrays (.npz)"
    raw_suffix = ".npy"
    prepared_suffix = ".npy"
    min_deviation = 0.0
    has_ranges = True

    def __init__(self, spec: TensorPreprocess) -> None:
        self.spec: TensorPreprocess = spec

    @property
    def input_names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return tuple(spec.name for spec in self.spec.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return `(n,)`, where n is the total number of values in all inputs."""
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
    return np.asarray(values, np.dtype(spec.dtype), order="C")  # `ascontiguousarray` would add an axis to a scalar.

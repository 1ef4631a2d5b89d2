"""Golden frames: samples in a bundle with their raw input and the recorded outputs."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import MAX_AXES, Golden, Variant
from orilla.runtime.preprocessing.image_file import decode_image
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.tensor import TensorPreprocess


@dataclass(frozen=True, eq=False)
class KnownFrame:
    """One golden sample."""

    raw: RawInput
    """Raw input: an image `[H,W,3]` uint8 BGR, a string, or arrays by name."""
    intact: bool
    """True if the raw input was decoded to the same values as at export."""
    prepared: ModelInput
    """Input of the network."""
    output: NDArray[np.float32]
    """Output of the original model without the batch axis."""


def read_frames(bundle: Bundle) -> list[KnownFrame]:
    """Read all golden samples. Raise `BundleError` if there are none, or if one is invalid."""
    if not bundle.manifest.golden:
        msg = f"{bundle.path.name} has no golden frames, so there is nothing to verify against"
        raise BundleError(msg)
    preprocessor = bundle.preprocessor()
    return [_read(bundle, golden, preprocessor) for golden in bundle.manifest.golden]


def read_answers(bundle: Bundle, variant: Variant) -> NDArray[np.float32]:
    """Return the outputs of the variant that were recorded at export, `[N,...]`."""
    if len(variant.golden) != len(bundle.manifest.golden):
        msg = f"{variant.name} has {len(variant.golden)} golden outputs: expected one for each golden frame"
        raise BundleError(msg)
    answers = [_array(bundle, name, (np.float32, np.float16)).astype(np.float32) for name in variant.golden]
    if any(answer.shape != answers[0].shape for answer in answers):
        msg = f"golden outputs of {variant.name} have different shapes"
        raise BundleError(msg)
    return np.stack(answers)


def pack(array: NDArray[np.generic]) -> bytes:
    """Encode an array as a `.npy` file for `read_frames` and `read_answers`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def raw_digest(raw: RawInput | NDArray[np.float64]) -> str:
    """Return the SHA-256 (hex) of an image's pixels, a string, or packed arrays."""
    if isinstance(raw, np.ndarray):
        return hashlib.sha256(raw.tobytes()).hexdigest()
    assert isinstance(raw, str)
    return hashlib.sha256(raw.encode()).hexdigest()


def _read(bundle: Bundle, golden: Golden, preprocessor: InputPreprocessor) -> KnownFrame:
    output = _array(bundle, golden.output, (np.float32,)).astype(np.float32)
    if isinstance(preprocessor.spec, TensorPreprocess):
        packed = _shaped(_array(bundle, golden.prepared, (np.float64,)), golden.prepared, preprocessor)
        arrays = preprocessor.spec.unpack(packed)
        return KnownFrame(arrays, raw_digest(packed) == golden.raw_sha256, arrays, output)
    raw = _raw(bundle, golden.raw, preprocessor)
    prepared = _shaped(_prepared(bundle, golden.prepared, preprocessor), golden.prepared, preprocessor)
    return KnownFrame(raw, raw_digest(raw) == golden.raw_sha256, prepared, output)


def _shaped(prepared: NDArray[Any], name: str, preprocessor: InputPreprocessor) -> NDArray[Any]:
    if prepared.shape != preprocessor.shape:
        msg = f"{name} has shape {list(prepared.shape)}, but the network's input has shape {list(preprocessor.shape)}"
        raise BundleError(msg)
    return prepared


def _raw(bundle: Bundle, name: str, preprocessor: InputPreprocessor) -> NDArray[np.uint8] | str:
    if preprocessor.is_text:
        return bundle.read(name).decode(errors="replace")
    return _image(bundle, name)


def _prepared(bundle: Bundle, name: str, preprocessor: InputPreprocessor) -> NDArray[Any]:
    if preprocessor.is_text:
        return _array(bundle, name, (np.int32,))
    return _image(bundle, name)


def _image(bundle: Bundle, name: str) -> NDArray[np.uint8]:
    image = decode_image(bundle.read(name))
    if image is None:
        msg = f"golden frame {name} cannot be decoded"
        raise BundleError(msg)
    return image


def _array(bundle: Bundle, name: str, dtypes: tuple[type[np.generic], ...]) -> NDArray[np.generic]:
    """Read a `.npy` file. The header is compared with the size of the file before memory is allocated."""
    data = bundle.read(name)
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            msg = f"version {version}"
            raise ValueError(msg)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        msg = f"golden array {name} cannot be read: {error}"
        raise BundleError(msg) from error
    if dtype not in dtypes or fortran or len(shape) > MAX_AXES:
        msg = f"golden array {name} has shape {list(shape)} and type {dtype}: expected type {np.dtype(dtypes[0])}"
        raise BundleError(msg)
    if len(data) - stream.tell() != math.prod(shape) * dtype.itemsize:
        msg = f"golden array {name} does not have the size in its header"
        raise BundleError(msg)
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape)

"""Golden frames: samples in a bundle with their raw input and the recorded outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Golden, Variant
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.npy import decode_npy, encode_npy
from orilla.runtime.preprocessing.tensor_spec import Outputs, TensorSpec, pack, unpack


@dataclass(frozen=True, eq=False)
class KnownFrame:
    """One golden sample."""

    raw: RawInput
    """Raw input: an image `[H,W,3]` uint8 BGR, a string, or arrays by name."""
    intact: bool
    """True if the raw input decodes to the same values as at export."""
    prepared: ModelInput
    """Input of the network."""
    outputs: dict[str, NDArray[np.float32]]
    """Outputs of the original model by name, without the batch axis."""


def read_frames(bundle: Bundle) -> list[KnownFrame]:
    """Read all golden samples. Raise `BundleError` if the bundle has no golden samples, or if one is invalid."""
    if not bundle.manifest.golden:
        msg = f"{bundle.path.name} has no golden frames, so there is nothing to verify against"
        raise BundleError(msg)
    preprocessor = bundle.preprocessor()
    return [_read(bundle, golden, preprocessor) for golden in bundle.manifest.golden]


def read_answers(bundle: Bundle, variant: Variant) -> list[dict[str, NDArray[np.float32]]]:
    """Return the variant's outputs for each golden sample, by name, as recorded at export."""
    if len(variant.golden) != len(bundle.manifest.golden):
        msg = f"{variant.name} has {len(variant.golden)} golden outputs: expected one for each golden frame"
        raise BundleError(msg)
    return [decode_outputs(bundle.read(name), name, bundle.manifest.outputs) for name in variant.golden]


def encode_outputs(outputs: Outputs, specs: Sequence[TensorSpec], dtype: type[np.floating[Any]]) -> bytes:
    """Return the `.npy` file that stores the outputs for one golden sample.

    The file contains the only output, or one vector with all outputs in the order of `specs`.
    """
    if len(specs) == 1:
        return encode_npy(outputs[specs[0].name].astype(dtype))
    return encode_npy(pack(outputs, specs, dtype))


def decode_outputs(data: bytes, name: str, specs: Sequence[TensorSpec]) -> dict[str, NDArray[np.float32]]:
    """Decode a file that `encode_outputs` returned. Raise `BundleError` if it does not contain these outputs."""
    packed = decode_npy(data, name, (np.float32, np.float16)).astype(np.float32)
    expected = specs[0].shape if len(specs) == 1 else (sum(spec.size for spec in specs),)
    if packed.shape != expected:
        msg = f"{name} has shape {list(packed.shape)}, but the outputs have shape {list(expected)}"
        raise BundleError(msg)
    return unpack(packed, specs)


def _read(bundle: Bundle, golden: Golden, preprocessor: InputPreprocessor) -> KnownFrame:
    raw = preprocessor.decode_raw(bundle.read(golden.raw), golden.raw)
    prepared = preprocessor.decode_prepared(bundle.read(golden.prepared), golden.prepared)
    outputs = decode_outputs(bundle.read(golden.output), golden.output, bundle.manifest.outputs)
    return KnownFrame(raw, preprocessor.digest(raw) == golden.raw_sha256, prepared, outputs)

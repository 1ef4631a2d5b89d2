"""Golden frames: samples in a bundle with their raw input and the recorded outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Golden, Variant
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, ModelInput, RawInput
from orilla.runtime.preprocessing.npy import decode_npy


@dataclass(frozen=True, eq=False)
class KnownFrame:
    """One golden sample."""

    raw: RawInput
    """Raw input: an image `[H,W,3]` uint8 BGR, a string, or arrays by name."""
    intact: bool
    """True if decoding the raw input gave the same values as at export."""
    prepared: ModelInput
    """Input of the network."""
    output: NDArray[np.float32]
    """Output of the original model without the batch axis."""


def read_frames(bundle: Bundle) -> list[KnownFrame]:
    """Read all golden samples. Raise `BundleError` if the bundle has no golden samples, or if one is invalid."""
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
    types = (np.float32, np.float16)
    answers = [decode_npy(bundle.read(name), name, types).astype(np.float32) for name in variant.golden]
    if any(answer.shape != answers[0].shape for answer in answers):
        msg = f"golden outputs of {variant.name} have different shapes"
        raise BundleError(msg)
    return np.stack(answers)


def _read(bundle: Bundle, golden: Golden, preprocessor: InputPreprocessor) -> KnownFrame:
    raw = preprocessor.decode_raw(bundle.read(golden.raw), golden.raw)
    prepared = preprocessor.decode_prepared(bundle.read(golden.prepared), golden.prepared)
    output = decode_npy(bundle.read(golden.output), golden.output, (np.float32,)).astype(np.float32)
    return KnownFrame(raw, preprocessor.digest(raw) == golden.raw_sha256, prepared, output)

"""Golden data: raw frames whose answers are known, as a bundle carries them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.bundle import Bundle
from orilla.runtime.manifest import Golden, Variant
from orilla.runtime.picture import decode_picture
from orilla.runtime.preprocess import Image


@dataclass(frozen=True, eq=False)
class KnownFrame:
    """One golden frame."""

    image: Image
    """`[H,W,3]` uint8 BGR."""
    intact: bool
    """Whether it decodes to the pixels that export saw."""
    prepared: Image
    """`[h,w,3]` uint8, as the network takes it."""
    output: NDArray[np.float32]
    """The original model's, `[h,w,1]`."""


def read_frames(bundle: Bundle) -> list[KnownFrame]:
    """Reads all golden frames; raises `BundleError` where there is none, or one is not what it should be."""
    if not bundle.manifest.golden:
        raise BundleError(f"{bundle.path.name} holds no golden frames: there is nothing to verify against")
    return [_read(bundle, golden) for golden in bundle.manifest.golden]


def read_answers(bundle: Bundle, variant: Variant) -> NDArray[np.float32]:
    """What the variant itself answered at export, `[N,h,w,1]`."""
    if len(variant.golden) != len(bundle.manifest.golden):
        raise BundleError(f"{variant.name} has {len(variant.golden)} golden answers: expected one for each frame")
    return np.stack([_array(bundle, name) for name in variant.golden])


def pack(array: NDArray[np.floating]) -> bytes:
    """An array as the `.npy` file that `read_frames` and `read_answers` take."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _read(bundle: Bundle, golden: Golden) -> KnownFrame:
    image, prepared = (decode_picture(bundle.read(name)) for name in (golden.image, golden.prepared))
    if image is None or prepared is None:
        raise BundleError(f"golden frame {golden.image} cannot be decoded")
    height, width = bundle.manifest.preprocess.size_hw
    if prepared.shape != (height, width, 3):
        raise BundleError(f"{golden.prepared} is {list(prepared.shape)}, the network's input {[height, width, 3]}")
    intact = hashlib.sha256(image.tobytes()).hexdigest() == golden.pixels_sha256
    return KnownFrame(image, intact, prepared, _array(bundle, golden.output))


def _array(bundle: Bundle, name: str) -> NDArray[np.float32]:
    """Reads a `.npy` of shape `[h,w,1]`; its header is checked against its size before anything is allocated."""
    data = bundle.read(name)
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except ValueError as error:
        raise BundleError(f"golden output {name} cannot be read: {error}") from error
    if dtype not in (np.float32, np.float16) or fortran or len(shape) != 3 or shape[2] != 1:
        raise BundleError(f"golden output {name} is {list(shape)} {dtype}: expected [height,width,1] float")
    if len(data) - stream.tell() != shape[0] * shape[1] * dtype.itemsize:
        raise BundleError(f"golden output {name} has not the size that its header says")
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape).astype(np.float32)

"""Encode arrays as `.npy` files, and decode such files from untrusted bundles."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.preprocessing.tensor_spec import MAX_AXES


def encode_npy(array: NDArray[np.generic]) -> bytes:
    """Return the content of a `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def decode_npy(data: bytes, name: str, dtypes: tuple[type[np.generic], ...]) -> NDArray[np.generic]:
    """Decode a `.npy` file. The header is compared with the size of the file before memory is allocated.

    Args:
        data: Content of the file.
        name: Name of the file for messages.
        dtypes: The allowed types.

    Raises:
        BundleError: The file is damaged or has another type.
    """
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

"""Encode arrays as `.npy` files, and decode such files from untrusted bundles."""

from __future__ import annotations

import io
import math
import re
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.devices.memory import available_bytes
from orilla.runtime.preprocessing.tensor_spec import MAX_AXES

MAGIC = b"\x93NUMPY"

MAX_HEADER = 10_000
"""Maximum size of the header in bytes."""

HEADER = re.compile(
    rb"\{\s*'descr':\s*'(?P<type>\|O|[<>|=]?(?:[biufcSU]\d{1,6}|[?]))',\s*'fortran_order':\s*(?P<fortran>True|False),"
    rb"\s*'shape':\s*\((?P<shape>[\dL, ]{0,700})\),?\s*\}\s*"
)
"""Pattern of a header, as NumPy writes it. Python 2 wrote an `L` after large numbers."""

SAVE_AGAIN = (
    "save it again as numbers, with np.savez('new.npz', **{name: np.stack(list(array)) for name, array in "
    "np.load('old.npz', allow_pickle=True).items()}) if you trust its author"
)
"""Advice for a file with pickled arrays."""


class NpyHeader(NamedTuple):
    """The header of a `.npy` file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    """True if the first axis varies fastest."""
    size: int
    """Size of everything before the data, in bytes."""


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
        BundleError: The file is damaged, or its type is not allowed.
    """
    try:
        header = read_header(io.BytesIO(data))
    except ValueError as error:
        msg = f"golden array {name} cannot be read: {error}"
        raise BundleError(msg) from error
    if header.dtype not in dtypes or header.fortran or len(header.shape) > MAX_AXES:
        msg = (
            f"golden array {name} has shape {list(header.shape)} and type {header.dtype}: expected type "
            f"{np.dtype(dtypes[0])}"
        )
        raise BundleError(msg)
    if len(data) - header.size != math.prod(header.shape) * header.dtype.itemsize:
        msg = f"golden array {name} does not have the size in its header"
        raise BundleError(msg)
    return np.frombuffer(data, header.dtype, offset=header.size).reshape(header.shape)


def read_header(stream: IO[bytes]) -> NpyHeader:
    """Read the header at the start of a `.npy` file.

    NumPy's own reader evaluates the header as Python, and raises errors of Python's parser. This function accepts only
    headers as NumPy writes them, and only types without fields.

    Source: `numpy/lib/format.py`.

    Raises:
        ValueError: The header is damaged, or its type has fields.
    """
    start = stream.read(8)
    if len(start) < 8 or not start.startswith(MAGIC):
        msg = "it is not a .npy file"
        raise ValueError(msg)
    bits = {1: 16, 2: 32, 3: 32}.get(start[6])
    if bits is None or start[7]:
        msg = f"version ({start[6]}, {start[7]}) of the .npy format is unknown"
        raise ValueError(msg)
    length = int.from_bytes(stream.read(bits // 8), "little")
    text = stream.read(min(length, MAX_HEADER + 1))
    found = HEADER.fullmatch(text) if len(text) == length <= MAX_HEADER else None
    if found is None:
        msg = f"its header {text[:80]!r} is damaged, or its type is not supported"
        raise ValueError(msg)
    shape = tuple(int(size) for size in found["shape"].replace(b"L", b"").split(b",") if size.strip())
    try:
        dtype = np.dtype(found["type"].decode())
    except TypeError as error:
        msg = f"its type is unknown: {error}"
        raise ValueError(msg) from error
    return NpyHeader(shape, dtype, found["fortran"] == b"True", 8 + bits // 8 + length)


def read_array(stream: IO[bytes], name: str) -> NDArray[Any]:
    """Read a `.npy` file from an untrusted stream, without pickles.

    Raises:
        ValueError: The file is damaged, or contains Python objects.
    """
    header = read_header(stream)
    if header.dtype.hasobject:
        msg = f"{name} contains Python objects (a pickle), which could run code: {SAVE_AGAIN}"
        raise ValueError(msg)
    size = math.prod(header.shape) * header.dtype.itemsize
    free = available_bytes()
    if free is not None and size > free:
        msg = f"{name} needs {size >> 20} MiB of memory, but only {free >> 20} MiB are free"
        raise ValueError(msg)

    # `read` returns only the bytes that exist, so a wrong size in a damaged header allocates no memory.
    data = stream.read(size)
    if len(data) < size or len(header.shape) > MAX_AXES:
        msg = f"{name} is shorter than its header states"
        raise ValueError(msg)
    array = np.frombuffer(bytearray(data), header.dtype)
    return array.reshape(header.shape, order="F" if header.fortran else "C")

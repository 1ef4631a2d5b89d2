"""Read the arrays of a `.npz` file, which may be damaged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.runtime.preprocessing import npy

SUFFIX = ".npy"


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """Return all arrays of a file by name. Raises `DataError` if one is damaged or contains Python objects."""
    with only_our_errors(path), zipfile.ZipFile(path) as archive:
        members = [member for member in archive.namelist() if member.endswith(SUFFIX)]
        return {member.removesuffix(SUFFIX): _decode(archive.read(member), member) for member in members}


def names_of(path: Path) -> list[str]:
    """Return the names of the arrays in a file, or an empty list if the file is not a valid `.npz`."""
    try:
        with only_our_errors(path), zipfile.ZipFile(path) as archive:
            return [name.removesuffix(SUFFIX) for name in archive.namelist() if name.endswith(SUFFIX)]
    except DataError:
        return []


def read_member(path: Path, name: str) -> bytes:
    """Return the bytes of one array's `.npy` file. Raises `DataError` if they are missing or damaged."""
    with only_our_errors(path), zipfile.ZipFile(path) as archive:
        if f"{name}{SUFFIX}" not in archive.namelist():
            msg = f"cannot read {path}: it has no array {name}"
            raise DataError(msg)
        return archive.read(f"{name}{SUFFIX}")


def header_of(path: Path, name: str) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return the shape and type of one array, or None if the file is not a valid `.npz` or lacks the array."""
    try:
        with only_our_errors(path), zipfile.ZipFile(path) as archive, archive.open(f"{name}{SUFFIX}") as stream:
            return read_header(stream)
    except DataError:
        return None


def read_file(path: Path) -> NDArray[np.generic]:
    """Return the array in a `.npy` file. Raises `DataError` if it is damaged or contains Python objects."""
    with only_our_errors(path):
        return _decode(path.read_bytes(), path.name)


def header_of_file(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return the shape and type of the array in a `.npy` file, or None if it is not valid."""
    try:
        with only_our_errors(path), path.open("rb") as stream:
            return read_header(stream)
    except DataError:
        return None


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read the shape and the type from the start of a `.npy` file. Raises `ValueError` if it is invalid."""
    header = npy.read_header(stream)
    return header.shape, header.dtype


def _decode(data: bytes, member: str) -> NDArray[np.generic]:
    if not data.startswith(npy.MAGIC):
        msg = f"{member} is not an array"
        raise ValueError(msg)
    return npy.read_array(io.BytesIO(data), member)

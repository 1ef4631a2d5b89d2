"""Read arrays and lists of names from untrusted HDF5 files."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

MAX_RATIO = 1100
"""Maximum ratio of an array's size to its compressed size. Deflate compresses at most by a factor of 1032."""


def attribute(group: h5py.Group, name: str) -> str | None:
    """Return an attribute that is a string, or None if it is missing."""
    value = group.attrs.get(name)
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def names(group: h5py.Group, name: str) -> list[str]:
    """Return a list of names from an attribute. Keras splits a long list into `NAME0`, `NAME1` and so on."""
    values: list[Any] = []
    if name in group.attrs:
        values = list(group.attrs[name])
    else:
        chunk = 0
        while f"{name}{chunk}" in group.attrs:
            values += list(group.attrs[f"{name}{chunk}"])
            chunk += 1
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in values]


def subgroup(group: h5py.Group, path: str) -> h5py.Group | None:
    """Return a subgroup, or None if it does not exist. Raise `ValueError` for a link to another file."""
    for part in filter(None, path.split("/")):
        if not _is_inside(group, part) or not isinstance(group[part], h5py.Group):
            return None
        group = group[part]
    return group


def array(group: h5py.Group, path: str) -> NDArray[Any]:
    """Return an array.

    Raises:
        ValueError: The array is missing, is stored in another file, or is larger than its compressed data allow.
    """
    folder, _, name = path.rpartition("/")
    parent = subgroup(group, folder)
    if parent is None or not _is_inside(parent, name) or not isinstance(parent[name], h5py.Dataset):
        msg = f"the weight {path} is missing, so the file is damaged"
        raise ValueError(msg)
    dataset = parent[name]
    if dataset.external or dataset.is_virtual:
        msg = f"the weight {path} lies in another file, which is not read"
        raise ValueError(msg)
    if dataset.nbytes > MAX_RATIO * max(dataset.id.get_storage_size(), 4):
        msg = f"the weight {path} declares {dataset.nbytes:,} bytes, but the file contains fewer"
        raise ValueError(msg)
    if dataset.dtype.kind not in "fiub":
        msg = f"the weight {path} has the type {dataset.dtype}, but only numbers are allowed"
        raise ValueError(msg)
    return np.asarray(dataset[()])


def _is_inside(group: h5py.Group, name: str) -> bool:
    link = group.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        msg = f"{group.name}/{name} is a link to another file, which is not read"
        raise ValueError(msg)
    return link is not None and name in group

"""Determine which Keras version wrote a model file, and read its configuration."""

from __future__ import annotations

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py

from orilla.export.keras2.hdf5 import attribute, names, subgroup
from orilla.export.keras2.origin import Origin

MAX_CONFIG = 1 << 28
"""Largest size of a configuration in bytes."""


@dataclass(frozen=True, slots=True)
class Keras2File:
    """The configuration and weights of an open model file."""

    name: str
    origin: Origin
    config: dict[str, Any]
    """Class name and configuration of the model."""
    weights: h5py.Group
    """Group with the weights. Its layout depends on `zipped`."""
    zipped: bool
    """True for a `.keras` file of Keras 2.12 to 2.15, which names the weight groups after the classes of the layers."""


def origin_of(path: Path) -> Origin | None:
    """Return the Keras version that wrote a file, or None if it was Keras 3 or the file is not a model.

    Raises:
        ValueError: The file contains weights, but not the model.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _zip_origin(archive)
    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path, "r") as file:
        if attribute(file, "model_config") is None:
            raise ValueError(_weights_only(path, file))
        origin = Origin(attribute(file, "keras_version") or "", attribute(file, "backend"))
    return origin if origin.version < (3, 0, 0) else None


@contextlib.contextmanager
def opened(path: Path, origin: Origin) -> Iterator[Keras2File]:
    """Open a model file that Keras 1 or 2 wrote.

    Raises:
        ValueError: The configuration or the weights are missing or cannot be read.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, _zipped_weights(archive) as weights:
            yield Keras2File(path.name, origin, _parsed(_member(archive, "config.json")), weights, zipped=True)
        return
    with h5py.File(path, "r") as file:
        config = _parsed(attribute(file, "model_config") or "")
        if "model_weights" not in file:
            msg = "it has no group model_weights: save the model with model.save"
            raise ValueError(msg)
        weights = file["model_weights"]
        yield Keras2File(path.name, _detailed(origin, weights), config, weights, zipped=False)


def _detailed(origin: Origin, weights: h5py.Group) -> Origin:
    """Return the origin with the backend and `cell_names` completed from the names of the weights."""
    found = [name for layer in names(weights, "layer_names") for name in _weight_names(weights, layer)]
    # Keras 1 did not write the backend, but `:0` in a name shows TensorFlow, which numbers the outputs of
    # operations.
    if origin.backend is None and found:
        origin = replace(origin, backend="tensorflow" if any(name.endswith(":0") for name in found) else "theano")
    cells = not any(re.search(r"/(forward|backward)_[^/]+/kernel:0$", name) for name in found)
    return replace(origin, cell_names=cells)


def _weight_names(weights: h5py.Group, layer: str) -> list[str]:
    group = subgroup(weights, layer)
    return names(group, "weight_names") if group is not None else []


def _zip_origin(archive: zipfile.ZipFile) -> Origin | None:
    try:
        metadata = json.loads(_member(archive, "metadata.json"))
        origin = Origin(str(metadata["keras_version"]), "tensorflow")
    except (ValueError, KeyError, TypeError):
        return None
    return origin if origin.version < (3, 0, 0) else None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        msg = f"it has no member {name}, so it is not a complete .keras file"
        raise ValueError(msg) from None
    if name.endswith(".json") and info.file_size > MAX_CONFIG:
        msg = f"its {name} has {info.file_size:,} bytes, but at most {MAX_CONFIG:,} are allowed"
        raise ValueError(msg)
    return archive.read(info)


@contextlib.contextmanager
def _zipped_weights(archive: zipfile.ZipFile) -> Iterator[h5py.Group]:
    with h5py.File(io.BytesIO(_member(archive, "model.weights.h5")), "r") as file:
        yield file


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except (ValueError, RecursionError):
        msg = "its configuration is not valid JSON, so the file is damaged"
        raise ValueError(msg) from None
    if not isinstance(config, dict) or "class_name" not in config or "config" not in config:
        msg = "its configuration does not describe a model"
        raise ValueError(msg)
    return config


def _weights_only(path: Path, file: h5py.File) -> str:
    """Return the message for an HDF5 file without a model."""
    if "layer_names" in file.attrs or "layer_names0" in file.attrs or "layers" in file or "vars" in file:
        return (
            f"{path.name} contains only the weights of a model: load them into the model with load_weights, "
            "save the whole model with model.save, and export that file"
        )
    return f"{path.name} is an HDF5 file, but contains no Keras model (it has no attribute model_config)"

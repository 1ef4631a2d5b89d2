"""Read an HDF5 file that Keras 3 wrote.

Keras reads HDF5 files with code written for Keras 2 files. That code drops each `axis` that is a list, so
`Softmax(axis=[1, 2])` becomes a softmax over the last axis, and it cannot load the operations of `keras.ops`. The
reader for `.keras` files has neither of these defects, but it needs the module name of each class. This module adds
these names to the configuration, and uses that reader.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import tempfile
from pathlib import Path
from typing import Any

import h5py
import keras

from orilla.export.keras2.hdf5 import attribute

MODELS = {"Functional": "keras.src.models.functional", "Model": "keras.src.models.functional", "Sequential": "keras"}
"""Module of each model class, as `.keras` files name it."""


class UnknownLayerError(ValueError):
    """Raised if a class in the file is not part of Keras."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Unknown layer: '{name}'")


def load(file: Path) -> keras.Model:
    """Load a model from an HDF5 file that Keras 3 wrote.

    Raises:
        UnknownLayerError: A layer is not part of Keras.
        ValueError: The configuration or the weights cannot be read, or a layer contains Python code.
        TypeError: Keras cannot create a layer from its configuration.
        OSError: The file is damaged.
        KeyError: The file lacks a part.
    """
    with h5py.File(file, "r") as opened:
        config = json.loads(attribute(opened, "model_config") or "")
    model = keras.saving.deserialize_keras_object(_with_modules(config), safe_mode=True)
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        # Keras recognises the format of the weights by the suffix of the file name.
        link = Path(folder, "model.h5")
        link.symlink_to(file.absolute())
        model.load_weights(link)
    return model


def _with_modules(config: Any) -> Any:
    """Return the configuration with the module of each class added, as in a `.keras` file."""
    if isinstance(config, list):
        return [_with_modules(entry) for entry in config]
    if not isinstance(config, dict):
        return config
    entry = {key: _with_modules(value) for key, value in config.items()}
    name = entry.get("class_name")
    # A name such as __keras_tensor__ is not a class, but the type of a value.
    if isinstance(name, str) and "config" in entry and "module" not in entry and not name.startswith("__"):
        entry |= {"module": _module(name, entry["config"]), "registered_name": None}
    return entry


def _module(class_name: str, config: Any) -> str:
    """Return the name of the Keras module that contains the class of a model, a layer or an operation.

    Some operations have the same name as a layer, for example `Add`. Only the configuration of a layer has the key
    `trainable`.
    """
    if class_name in MODELS:
        return MODELS[class_name]
    if not isinstance(config, dict) or "trainable" not in config:
        for module in _operation_modules():
            found = getattr(importlib.import_module(module), class_name, None)
            if isinstance(found, type) and issubclass(found, keras.Operation):
                return module
    if hasattr(keras.layers, class_name):
        return "keras.layers"
    raise UnknownLayerError(class_name)


def _operation_modules() -> list[str]:
    """Return the names of the modules that define operations, as `.keras` files contain them."""
    from keras.src import ops

    names = (module.name for module in pkgutil.iter_modules(ops.__path__))
    return [f"{ops.__name__}.{name}" for name in names if not name.endswith("_test")]

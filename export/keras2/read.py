"""Read a Keras 1 or 2 model file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from orilla.export.keras2.assign import assign_hdf5, assign_zipped
from orilla.export.keras2.build import Builder
from orilla.export.keras2.config import ModelConfig, parse
from orilla.export.keras2.file import Keras2File, opened
from orilla.export.keras2.hdf5 import array, names, subgroup
from orilla.export.keras2.origin import Origin, UnreadableLayersError

REPLACE = "replace these layers with layers of Keras, and save the model again"
"""Advice for layers that cannot be read."""

SAVED_MODEL = (
    "or save it as a SavedModel with the Keras that wrote it (model.save with a folder), and export that folder"
)
"""Alternative advice. A SavedModel contains the model's graph instead of Python code. Keras in TensorFlow 2 can write
it."""


def read(path: Path, origin: Origin) -> tuple[Any, tuple[str, ...]]:
    """Return a Keras 3 model that computes the same values as a Keras 1 or 2 file, and notes on its translation.

    Raises:
        ValueError: The file is damaged, or contains layers that cannot be read. The message is one line.
    """
    try:
        with opened(path, origin) as file:
            return _read(file)
    except RecursionError:
        reason = "its layers are nested too deeply"
    except (OSError, KeyError, RuntimeError) as error:
        reason = f"it is damaged ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})"
    except ValueError as error:
        reason = str(error).splitlines()[0]
    msg = f"cannot read {path.name} (written by {origin}): {reason}"
    raise ValueError(msg)


def _read(file: Keras2File) -> tuple[Any, tuple[str, ...]]:
    config = parse(file.config)
    _complete(config, file)
    builder = Builder(file.origin, config, _elements(file.weights))
    try:
        model, parts = builder.build()
    except UnreadableLayersError as error:
        msg = f"{error}; {REPLACE}" + (f", {SAVED_MODEL}" if file.origin.in_tensorflow else "")
        raise ValueError(msg) from error
    (assign_zipped if file.zipped else assign_hdf5)(parts, file.weights)
    notes = [f"{', '.join(layers)} {text}" for text, layers in builder.notes.items()]
    return model, (f"{file.name} was written by {file.origin} and is read as this version computes it", *notes)


def _complete(config: ModelConfig, file: Keras2File) -> None:
    """Set the input shape of a `Sequential` from the weights of its first dense layer, if the file does not state it.

    Keras up to 2.2.4 did not write the shape that an `InputLayer` gave to a `Sequential`.
    """
    start, *layers = config.layers
    if config.class_name != "Sequential" or start.input_shape is not None or file.zipped:
        return
    dense = next((layer for layer in layers if layer.class_name not in ("Dropout", "Activation")), None)
    group = subgroup(file.weights, dense.name) if dense is not None and dense.class_name == "Dense" else None
    weights = names(group, "weight_names") if group is not None else []
    if group is not None and weights:
        start.config["batch_input_shape"] = [None, array(group, weights[0]).shape[0]]


def _elements(group: h5py.Group) -> int:
    """Return the total number of elements in the arrays of a group."""
    total = 0

    def count(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += int(item.size or 0)

    group.visititems(count)
    return total

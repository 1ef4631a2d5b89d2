"""Read a model file of Keras 1 or 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from orilla.export.keras2.assign import assign_hdf5, assign_zipped
from orilla.export.keras2.build import Builder
from orilla.export.keras2.config import parse
from orilla.export.keras2.file import Keras2File, opened
from orilla.export.keras2.origin import Origin

WAY_ROUND = (
    "replace these layers by layers of Keras and save the model again, or save it as a SavedModel with the Keras that "
    "wrote it (model.save with a folder), and export that folder"
)
"""Advice for layers that cannot be read. A SavedModel contains the graph of the model, without Python code."""


def read(path: Path, origin: Origin) -> tuple[Any, tuple[str, ...]]:
    """Return the Keras 3 model that computes what a file of Keras 1 or 2 computes, and notes on its translation.

    Raises:
        ValueError: The file is damaged, or contains layers that cannot be read. The message is one line.
    """
    try:
        with opened(path, origin) as file:
            return _read(file)
    except RecursionError:
        reason = "its layers are too deeply inside one another"
    except (OSError, KeyError, RuntimeError) as error:
        reason = f"it is damaged ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})"
    except ValueError as error:
        reason = str(error).splitlines()[0]
    msg = f"cannot read {path.name} (written by {origin}): {reason}"
    raise ValueError(msg)


def _read(file: Keras2File) -> tuple[Any, tuple[str, ...]]:
    config = parse(file.config)
    builder = Builder(file.origin, config, _elements(file.weights))
    try:
        model, parts = builder.build()
    except ValueError as error:
        msg = f"{error}: {WAY_ROUND}"
        raise ValueError(msg) from error
    (assign_zipped if file.zipped else assign_hdf5)(parts, file.weights)
    notes = tuple(f"{', '.join(layers)}: {text}" for text, layers in builder.notes.items())
    return model, notes


def _elements(group: h5py.Group) -> int:
    """Return the number of elements of all arrays in a group."""
    total = 0

    def count(_: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += int(item.size or 0)

    group.visititems(count)
    return total

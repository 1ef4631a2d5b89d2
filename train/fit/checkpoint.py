"""Checkpoints of training runs: the variables of the network and the optimizer, and the metrics of the epochs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.run_folder import CHECKPOINT
from orilla.runtime.files import replacing

Row = dict[str, float]
"""The values of one epoch by name, as in `history.csv`."""


@dataclass(slots=True)
class State:
    """The state of a training run between two epochs, without the variables of the network and the optimizer."""

    rows: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    """Number of the best epoch, counted from 1; 0 if no epoch is chosen."""
    best: list[np.ndarray] = field(default_factory=list)
    """The model's variables after the best epoch; empty if no epoch is chosen."""
    average: list[np.ndarray] = field(default_factory=list)
    """Running average of the model's variables; empty if it is not computed."""


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint of a run folder, if there is one."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def checkpoint_signature(folder: Path) -> str | None:
    """Return the signature of a run folder's checkpoint, or None if there is no readable checkpoint."""
    try:
        with np.load(folder / CHECKPOINT) as saved:
            signature: str = json.loads(saved["state"].tobytes())["signature"]
            return signature
    except (OSError, zipfile.BadZipFile, KeyError, EOFError, ValueError):
        return None


def snapshot(model: keras.Model) -> list[np.ndarray]:
    """Return a copy of a model's variables: weights, batch-norm statistics, and the states of random generators."""
    return [np.array(variable.numpy()) for variable in model.variables]


def assign(model: keras.Model, values: list[np.ndarray]) -> None:
    """Set a model's variables to the values that `snapshot` returned."""
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def save(model: keras.Model, state: State, folder: Path, signature: str) -> None:
    """Write the checkpoint of a run folder. If this fails, the previous checkpoint is kept."""
    arrays = {f"v{i}": np.asarray(v.numpy()) for i, v in enumerate(_variables(model))}
    arrays |= {f"b{i}": value for i, value in enumerate(state.best)}
    arrays |= {f"a{i}": value for i, value in enumerate(state.average)}
    write_arrays(
        folder / CHECKPOINT,
        {"signature": signature, "rows": state.rows, "best_epoch": state.best_epoch},
        arrays,
    )


def write_arrays(path: Path, state: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a JSON document and arrays into one `.npz` file."""
    document = np.frombuffer(json.dumps(state).encode(), np.uint8)
    with replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, state=document, **arrays)


def read_state(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the JSON document that `write_arrays` wrote."""
    state: dict[str, Any] = json.loads(arrays["state"].tobytes())
    return state


def restore(model: keras.Model, folder: Path, signature: str) -> State:
    """Load the checkpoint of a run folder into a compiled model.

    Returns:
        The state of the training run. It is empty if there is no checkpoint.

    Raises:
        ConfigError: The checkpoint belongs to a training run with a different signature.
        DataError: The checkpoint is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return State()
    try:
        with np.load(path) as saved:
            state = read_state(saved)
            if state["signature"] != signature:
                msg = f"cannot resume {folder}: it was started with {difference(state['signature'], signature)}"
                raise ConfigError(msg)
            variables = _variables(model)
            count = sum(name.startswith("v") for name in saved.files)
            if count != len(variables):
                msg = f"it has {count} variables instead of {len(variables)}"
                raise ValueError(msg)
            for index, variable in enumerate(variables):
                variable.assign(saved[f"v{index}"])
            best, average = (
                [saved[f"{kind}{i}"] for i in range(len(model.variables))] if f"{kind}0" in saved else []
                for kind in ("b", "a")
            )
    except (zipfile.BadZipFile, KeyError, EOFError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = "it is not an .npz file" if "pickle" in str(error) else error
        msg = f"cannot resume {folder}: {CHECKPOINT} is damaged: {reason}"
        raise DataError(msg) from error
    return State(state["rows"], state["best_epoch"], best, average)


def difference(old: str, new: str) -> str:
    """Return the difference between two signatures, as part of an error message."""
    decoder = json.JSONDecoder()
    try:
        (old_options, old_end), (new_options, new_end) = (decoder.raw_decode(text) for text in (old, new))
        names = [name for name in {**old_options, **new_options} if old_options.get(name) != new_options.get(name)]
    except (ValueError, AttributeError, TypeError):
        return f"{old}, not {new}"
    parts = [f"{name} {old_options.get(name)}, not {new_options.get(name)}" for name in names if name != "data"]
    if "data" in names:
        parts.append("other data")
    return "; ".join(parts) or f"other phases ({old[old_end:].strip()}, not {new[new_end:].strip()})"

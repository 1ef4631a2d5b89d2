"""Checkpoints: the variables of network and optimizer, and the results of the epochs so far."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bundle.run_folder import CHECKPOINT
from orilla.runtime.files import replacing

Row = dict[str, float]
"""Results of one epoch, by name."""


@dataclass(slots=True)
class State:
    """State of a training between two epochs."""

    rows: list[Row] = field(default_factory=list)
    best_epoch: int = 0
    best: list[np.ndarray] = field(default_factory=list)
    """Variables of the model in the best epoch; empty if no epoch is chosen."""
    average: list[np.ndarray] = field(default_factory=list)
    """Average of the model's variables; empty if the last ones are kept."""


def remove_checkpoint(folder: Path) -> None:
    """Delete the checkpoint files."""
    (folder / CHECKPOINT).unlink(missing_ok=True)


def checkpoint_signature(folder: Path) -> str | None:
    """Return the signature of the folder's checkpoint. None if there is no readable checkpoint."""
    try:
        with np.load(folder / CHECKPOINT) as saved:
            signature: str = json.loads(saved["state"].tobytes())["signature"]
            return signature
    except (OSError, zipfile.BadZipFile, KeyError, EOFError, ValueError):
        return None


def snapshot(model: keras.Model) -> list[np.ndarray]:
    """Return a copy of everything that a model holds: weights, statistics, states of random generators."""
    return [np.array(variable.numpy()) for variable in model.variables]


def assign(model: keras.Model, values: list[np.ndarray]) -> None:
    """Restore what `snapshot` copied."""
    for variable, value in zip(model.variables, values, strict=True):
        variable.assign(value)


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.variables, *model.optimizer.variables]


def save(model: keras.Model, state: State, folder: Path, signature: str) -> None:
    """Write the checkpoint. If writing fails, the previous one stays."""
    arrays = {f"v{i}": np.asarray(v.numpy()) for i, v in enumerate(_variables(model))}
    arrays |= {f"b{i}": value for i, value in enumerate(state.best)}
    arrays |= {f"a{i}": value for i, value in enumerate(state.average)}
    summary = json.dumps({"signature": signature, "rows": state.rows, "best_epoch": state.best_epoch}).encode()
    with replacing(folder / CHECKPOINT) as temporary:
        np.savez(temporary, state=np.frombuffer(summary, np.uint8), **arrays)  # type: ignore[arg-type]


def restore(model: keras.Model, folder: Path, signature: str) -> State:
    """Restore a compiled model from a checkpoint. Without one, return an empty state.

    Raises:
        ConfigError: The checkpoint belongs to a training with another signature.
        DataError: The checkpoint is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return State()
    try:
        with np.load(path) as saved:
            summary = json.loads(saved["state"].tobytes())
            if summary["signature"] != signature:
                msg = f"cannot resume {folder}: it was started with {_other(summary['signature'], signature)}"
                raise ConfigError(msg)
            variables = _variables(model)
            if sum(name.startswith("v") for name in saved.files) != len(variables):
                msg = f"it has a different number of arrays than {len(variables)}"
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
    return State(summary["rows"], summary["best_epoch"], best, average)


def _other(old: str, new: str) -> str:
    """Describe the difference between two signatures."""
    try:
        (before, rest), (now, of_now) = (json.JSONDecoder().raw_decode(text) for text in (old, new))
        differing = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    except (ValueError, AttributeError, TypeError):
        return f"{old}, not {new}"
    summary = [f"{name} {before.get(name)}, not {now.get(name)}" for name in differing if name != "data"]
    if "data" in differing:
        summary.append("other data")
    return "; ".join(summary) or f"other stages ({old[rest:].strip()}, not {new[of_now:].strip()})"

"""What the frozen part of a network makes of the training samples, computed once and kept in a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orilla.runtime.files import make_folder, replacing
from orilla.train.augment import apply
from orilla.train.data.batches import Inputs

BATCH = 16


class Features:
    """`[views, N, ...]` float16 in a file that is mapped, not read: more than fits in memory is no trouble."""

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        self._views = np.load(file, mmap_mode="r")

    def __len__(self) -> int:
        return int(self._views.shape[1])

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator | None = None) -> NDArray[Any]:
        views = np.zeros(len(indices), np.int64) if rng is None else rng.integers(len(self._views), size=len(indices))
        return self._views[views, indices].astype(np.float32)

    def view(self, indices: NDArray[np.int64], view: int) -> NDArray[Any]:
        """One view of some samples."""
        return self._views[view, indices].astype(np.float32)


def features(
    front: keras.Model, inputs: Inputs, folder: Path, *, views: int, augment: keras.layers.Layer | None, key: object
) -> Features:
    """Runs `front` over all inputs, as they are and changed by `augment` `views - 1` times; a file made before by the
    same weights from the same data is used again.

    Args:
        key: names the data and how it was prepared.
    """
    make_folder(folder)
    below = inputs.name if isinstance(inputs, Features) else None
    surroundings = [keras.backend.backend(), keras.config.dtype_policy().name]
    file = folder / f"{_name(front, views, [key, below, surroundings])}.npy"
    if not file.exists():
        with replacing(file) as temporary:
            shape = (views, len(inputs), *front.output.shape[1:])
            kept = np.lib.format.open_memmap(temporary, "w+", np.float16, shape)
            with temporary.open("r+b") as stream:  # a full disk is an error here, and a crash in a mapped file
                os.posix_fallocate(stream.fileno(), 0, temporary.stat().st_size)
            for view, places, made in _run(front, inputs, views, augment):
                kept[view, places] = made
            kept.flush()
            del kept
    return Features(file)


def _run(
    front: keras.Model, inputs: Inputs, views: int, augment: keras.layers.Layer | None
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.floating]]]:
    steps = [(view, start) for view in range(views) for start in range(0, len(inputs), BATCH)]
    console = Console(stderr=True)
    rng = np.random.default_rng(0)
    told = track(
        steps, "features of the frozen layers", console=console, transient=True, disable=not console.is_terminal
    )
    for view, start in told:
        places = np.arange(start, min(start + BATCH, len(inputs)))
        taken = inputs.view(places, view) if isinstance(inputs, Features) else inputs.take(places, rng)
        batch = taken.astype(np.float32)
        if view and augment is not None:
            batch = apply(augment, batch, 7919 * view + start)
        yield view, places, np.asarray(keras.ops.convert_to_numpy(front.predict_on_batch(batch)))


def _name(front: keras.Model, views: int, key: object) -> str:
    total = hashlib.sha256(json.dumps([front.input.shape, front.output.shape, views, key], default=str).encode())
    for array in front.get_weights():
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:32]

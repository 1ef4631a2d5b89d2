"""Outputs of the frozen part of a network for the training samples, computed once and stored in a file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orilla.runtime.files import make_folder, replacing
from orilla.train.data.augment import apply
from orilla.train.data.batches import Inputs

BATCH = 16


class Features:
    """Features `[views, N, ...]` float16 in a file. Each batch is read from the file, so they may exceed the memory."""

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        whole = np.load(
            file, mmap_mode="r"
        )  # The arrays are read instead of memory-mapped, because mapped pages count as memory of the process.
        (self._views, self._count, *shape), self._begin = whole.shape, whole.offset
        self._shape, self._dtype = tuple(shape), whole.dtype
        self._bytes = math.prod(shape) * whole.itemsize
        self._file = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return int(self._count)

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator | None = None) -> NDArray[Any]:
        views = np.zeros(len(indices), np.int64) if rng is None else rng.integers(self._views, size=len(indices))
        return self._read(views * self._count + indices)

    def view(self, indices: NDArray[np.int64], view: int) -> NDArray[Any]:
        """Return one view of some samples."""
        return self._read(view * self._count + indices)

    def _read(self, places: NDArray[np.int64]) -> NDArray[Any]:
        read = (os.pread(self._file, self._bytes, self._begin + int(place) * self._bytes) for place in places)
        return np.stack([np.frombuffer(one, self._dtype).reshape(self._shape) for one in read]).astype(np.float32)


def features(
    front: keras.Model, inputs: Inputs, folder: Path, *, views: int, augment: keras.layers.Layer | None, key: object
) -> Features:
    """Run `front` over all inputs: once unchanged, and `views - 1` times changed by `augment`.

    A file of the same weights and data is used again.

    Args:
        front: The frozen part of the network.
        inputs: Inputs of the samples.
        folder: Folder for the file.
        views: Number of views per sample.
        augment: Layer that changes the inputs, or None.
        key: Identifies the data and its preparation.
    """
    make_folder(folder)
    below = inputs.name if isinstance(inputs, Features) else None
    surroundings = [keras.backend.backend(), keras.config.dtype_policy().name]
    file = folder / f"{_name(front, views, [key, below, surroundings])}.npy"
    if not file.exists():
        with replacing(file) as temporary:
            shape = (views, len(inputs), *front.output.shape[1:])
            with temporary.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})
                for made in _run(front, inputs, views, augment):
                    stream.write(made.astype("<f2").tobytes())
    return Features(file)


def _run(
    front: keras.Model, inputs: Inputs, views: int, augment: keras.layers.Layer | None
) -> Iterator[NDArray[np.floating]]:
    """Yield the features of one batch after the other, view by view."""
    steps = [(view, start) for view in range(views) for start in range(0, len(inputs), BATCH)]
    console = Console(stderr=True)
    rng = np.random.default_rng(0)
    summary = track(
        steps,
        "computing the features of the frozen layers",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for view, start in summary:
        places = np.arange(start, min(start + BATCH, len(inputs)))
        taken = inputs.view(places, view) if isinstance(inputs, Features) else inputs.take(places, rng)
        batch = taken.astype(np.float32)
        if view and augment is not None:
            batch = apply(augment, batch, 7919 * view + start)
        yield np.asarray(keras.ops.convert_to_numpy(front.predict_on_batch(batch)))


def _name(front: keras.Model, views: int, key: object) -> str:
    total = hashlib.sha256(json.dumps([front.input.shape, front.output.shape, views, key], default=str).encode())
    for array in front.get_weights():
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:32]

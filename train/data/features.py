"""Compute the outputs of a network's frozen layers for the training samples once, and store them in a file."""

from __future__ import annotations

import hashlib
import json
import math
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from orilla.devices.progress import Progress
from orilla.runtime.files import make_folder, replacing
from orilla.train.data.augment import BatchChange, apply
from orilla.train.data.batches import Inputs

BATCH = 16


@dataclass(frozen=True, slots=True)
class Views:
    """The views of each sample that the frozen layers process: the unchanged sample first, then augmented ones."""

    count: int = 1
    augment: BatchChange | None = None
    """Augmentation for all views except the first; None if the inputs have their own views."""


class FeatureFile:
    """Features `[views,N,...]` float16 in a file.

    Each batch is read when it is needed, so the file may be larger than memory.
    """

    def __init__(self, file: Path) -> None:
        self.name = file.stem
        # The memory map is used only for the header, because data read through it would count as memory of the process.
        header = np.load(file, mmap_mode="r")
        (self._views, self._count, *shape), self._offset = header.shape, header.offset
        self._shape, self._dtype = tuple(shape), header.dtype
        self._bytes = math.prod(shape) * header.itemsize
        self._file = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self._file)

    def __len__(self) -> int:
        return int(self._count)

    def take(self, indices: NDArray[np.int64], rng: np.random.Generator) -> NDArray[Any]:
        """Return the features `[N,...]` float32 of the samples at `indices`, with a random view of each sample."""
        return self._read(rng.integers(self._views, size=len(indices)) * self._count + indices)

    def view(self, indices: NDArray[np.int64], view: int) -> NDArray[Any]:
        """Return the features `[N,...]` float32 of one view of the samples at `indices`."""
        return self._read(view * self._count + indices)

    def _read(self, positions: NDArray[np.int64]) -> NDArray[Any]:
        blocks = (os.pread(self._file, self._bytes, self._offset + int(i) * self._bytes) for i in positions)
        arrays = [np.frombuffer(block, self._dtype).reshape(self._shape) for block in blocks]
        return np.stack(arrays).astype(np.float32)


@dataclass(frozen=True, slots=True)
class FeatureStore:
    """A folder that caches the features of frozen layers."""

    folder: Path
    progress: Progress
    """Receives the progress."""

    def compute(self, front: keras.Model, inputs: Inputs, views: Views, key: object) -> FeatureFile:
        """Run frozen layers on all inputs, or use the file that an earlier call with equal arguments wrote.

        Args:
            front: The frozen layers.
            inputs: The inputs of `front`.
            views: The views to compute.
            key: A JSON value that identifies the data and its preprocessing.
        """
        make_folder(self.folder)
        input_file = inputs.name if isinstance(inputs, FeatureFile) else None
        environment = [keras.backend.backend(), keras.config.dtype_policy().name]
        file = self.folder / f"{_file_name(front, views.count, [key, input_file, environment])}.npy"
        if not file.exists():
            header = {
                "descr": "<f2",
                "fortran_order": False,
                "shape": (views.count, len(inputs), *front.output.shape[1:]),
            }
            with replacing(file) as temporary, temporary.open("wb") as stream:
                np.lib.format.write_array_header_1_0(stream, header)
                for outputs in self._outputs(front, inputs, views):
                    stream.write(outputs.astype("<f2").tobytes())
        return FeatureFile(file)

    def _outputs(self, front: keras.Model, inputs: Inputs, views: Views) -> Iterator[NDArray[np.floating]]:
        """Yield the outputs batch by batch, view by view."""
        title = "features of the frozen layers"
        steps = [(view, start) for view in range(views.count) for start in range(0, len(inputs), BATCH)]
        with self.progress.steps(title, len(steps)) as advance:
            for view, start in steps:
                indices = np.arange(start, min(start + BATCH, len(inputs)))
                batch = inputs.view(indices, view).astype(np.float32)
                if view and views.augment is not None:
                    batch = apply(views.augment, batch, 7919 * view + start)
                yield np.asarray(keras.ops.convert_to_numpy(front.predict_on_batch(batch)))
                advance(1, title)


def _file_name(front: keras.Model, views: int, key: object) -> str:
    digest = hashlib.sha256(json.dumps([front.input.shape, front.output.shape, views, key], default=str).encode())
    for array in front.get_weights():
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]

"""Data set of random arrays. It checks an imported model that takes arrays if the user gives no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orilla.export.imports.foreign import ForeignTensor
from orilla.runtime.evaluation.datasets import Source
from orilla.runtime.evaluation.datasets.dataset import ArraySample, Dataset, Sample

COUNT = 64
"""Number of samples."""

SEED = 20


class RandomArrays(Dataset):
    """Random inputs of a model.

    Float inputs get standard normal numbers. Quantised inputs get numbers that are spread over their range.

    Args:
        tensors: Inputs of the model.
        task: Task of the model.
    """

    classes = ()
    has_labels = False
    source = Source("random arrays", "random numbers", "Apache-2.0")

    def __init__(self, tensors: Sequence[ForeignTensor], task: str) -> None:
        self.task = task
        self._tensors = tuple(tensors)

    @property
    def splits(self) -> tuple[str, ...]:
        """Return the name of the only split."""
        return ("all",)

    def names(self, split: str) -> tuple[str, ...]:
        """Return the names of the samples, which are their indices."""
        return tuple(map(str, range(COUNT)))

    def load(self, split: str, index: int) -> Sample:
        """Compute one sample. The same index gives the same sample."""
        return ArraySample(str(index), self._arrays(index), None)

    def content(self, split: str, index: int) -> bytes:
        """Return the bytes of the arrays."""
        return b"".join(np.ascontiguousarray(array).tobytes() for array in self._arrays(index).values())

    def truth(self, split: str, index: int) -> bytes:
        """Return empty bytes, because there are no labels."""
        return b""

    def is_file(self, split: str, index: int) -> bool:
        """Return False, because the arrays are computed."""
        return False

    def _arrays(self, index: int) -> Mapping[str, NDArray[np.generic]]:
        rng = np.random.default_rng((SEED, index))
        return {tensor.name: _random(tensor, rng) for tensor in self._tensors}


def _random(tensor: ForeignTensor, rng: np.random.Generator) -> NDArray[np.generic]:
    shape, dtype = tensor.shape[1:], np.dtype(tensor.dtype)
    if tensor.quantisation is not None:
        low, high = tensor.quantisation.span(dtype)
        return rng.uniform(low, high, shape).astype(np.float32)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        return rng.integers(0, 8, shape).astype(dtype)
    return rng.standard_normal(shape).astype(np.float32)

"""A session: one variant loaded on one engine, arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.preprocess import Image
from orilla.runtime.text import Tokens

Prepared = Image | Tokens
"""What a network takes, without the batch axis."""


@dataclass(frozen=True, slots=True)
class Quantisation:
    """Affine quantisation, `real = scale * (quantised - zero_point)`.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference" (2018), eq. 1.
    """

    scale: float
    zero_point: int

    def table(self, dtype: np.dtype) -> NDArray[np.generic]:
        """The quantised value of each picture value 0-255, `[256]` of `dtype`."""
        limits = np.iinfo(dtype)
        values = np.round(np.arange(256) / self.scale) + self.zero_point
        return np.clip(values, limits.min, limits.max).astype(dtype)


class Session(Protocol):
    """What every engine makes of a variant. Not for use by two threads at once."""

    engine: str
    """Name and version of what runs it."""

    def run(self, prepared: Prepared) -> NDArray[np.float32]:
        """One inference.

        Args:
            prepared: `[h,w,3]` uint8, or `[T]` int32 tokens; read only, free again when the call returns.

        Returns:
            The output as real numbers, `[1,...]` float32, the caller's own.

        Raises:
            EngineError: the engine failed.
        """

    def close(self) -> None:
        """Frees the engine's memory."""


class Input:
    """Puts a prepared picture, or tokens, into the form a variant's input tensor has."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, quantisation: Quantisation | None) -> None:
        picture, tokens = len(shape) == 4 and shape[-1:] == (3,), len(shape) == 2
        if not (picture or tokens) or shape[0] != 1 or min(shape) < 1:
            raise BundleError(f"the variant's input is {list(shape)}: expected [1,height,width,3] or [1,tokens]")
        self._tensor = np.empty(shape, dtype)
        if dtype in (np.float32, np.int32, np.int64) and not quantisation:
            self._table = None
        elif quantisation is None:
            raise BundleError(f"the variant's input is {dtype} without scale and zero point")
        else:
            table = quantisation.table(dtype)
            self._table = None if np.array_equal(table, np.arange(256)) else table

    def __call__(self, prepared: Prepared) -> NDArray[np.generic]:
        """The tensor, `[1,h,w,3]` or `[1,T]`; written anew by the next call."""
        if prepared.shape != self._tensor.shape[1:]:
            expected = list(self._tensor.shape[1:])
            raise BundleError(f"prepared input is {list(prepared.shape)}, the variant takes {expected}")
        if self._table is None:
            np.copyto(self._tensor[0], prepared)
        else:
            cv2.LUT(prepared, self._table, dst=self._tensor[0])
        return self._tensor


def dequantise(output: NDArray[np.generic], quantisation: Quantisation | None) -> NDArray[np.float32]:
    """Quantised numbers as real ones, float32; float ones pass unchanged."""
    if quantisation is None:
        return output.astype(np.float32, copy=False)
    return (output.astype(np.float32) - np.float32(quantisation.zero_point)) * np.float32(quantisation.scale)

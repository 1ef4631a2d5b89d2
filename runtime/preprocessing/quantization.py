"""Affine quantisation of arrays."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray


class Quantization(msgspec.Struct, frozen=True):
    """Affine quantisation: `real = scale * (quantised - zero_point)`.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
    (2018), eq. 1.
    """

    scale: float
    zero_point: int

    def quantise(self, real: NDArray[np.generic], dtype: np.dtype) -> NDArray[np.generic]:
        """Quantise real numbers to `dtype`. Numbers outside the range are clipped."""
        limits = np.iinfo(dtype)
        steps = np.round(np.asarray(real, np.float64) / self.scale) + self.zero_point
        quantised: NDArray[np.generic] = np.clip(steps, limits.min, limits.max).astype(dtype)
        return quantised

    def span(self, dtype: np.dtype) -> tuple[float, float]:
        """Return the smallest and largest real number that quantised values of type `dtype` can represent."""
        limits = np.iinfo(dtype)
        return self.scale * (limits.min - self.zero_point), self.scale * (limits.max - self.zero_point)


def dequantise(values: NDArray[np.generic], quantisation: Quantization | None) -> NDArray[np.float32]:
    """Convert quantised numbers into real numbers, float32. If `quantisation` is None, only the type is converted."""
    if quantisation is None:
        return values.astype(np.float32, copy=False)
    return (values.astype(np.float32) - np.float32(quantisation.zero_point)) * np.float32(quantisation.scale)

"""Light, weather and lens as random changes of a batch of pictures, on any Keras backend."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in brightness. Source: ITU-R BT.601."""


def augment_light(images: NDArray[np.float32], *, seed: int) -> NDArray[np.float32]:
    """Changes exposure, gamma, contrast, colour, shadow, focus and noise of each picture on its own.

    Args:
        images: `[N,H,W,3]` float32 RGB, 0-255; not changed.
        seed: the same seed makes the same changes.

    Returns:
        `[N,H,W,3]` float32, 0-255.
    """
    x = ops.convert_to_tensor(images) / 255.0
    draw = _Draw(len(images), seed)
    x = ops.power(ops.clip(x, 1e-4, 1.0), ops.exp(draw.normal(0.35)))
    x = x * ops.exp(draw.normal(0.30)) * ops.exp(draw.normal(0.10, channels=3))
    grey = ops.sum(x * ops.convert_to_tensor(LUMA, x.dtype), axis=-1, keepdims=True)
    x = grey + (x - grey) * draw.uniform(0.0, 1.5)
    mean = ops.mean(grey, axis=(1, 2), keepdims=True)
    x = mean + (x - mean) * draw.uniform(0.6, 1.3)
    x = x * _shadow(draw, x.shape[1], x.shape[2])
    x = _blur(x, draw)
    coarse = draw.field(x.shape[1] // 2, x.shape[2] // 2)
    noise = ops.repeat(ops.repeat(coarse, 2, axis=1), 2, axis=2)[:, : x.shape[1], : x.shape[2]]
    x = x + noise * draw.uniform(0.0, 0.05)
    return ops.convert_to_numpy(ops.clip(x, 0.0, 1.0) * 255.0).astype(np.float32)


class _Draw:
    """Random numbers of one batch, each call with a seed of its own."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed

    def _next(self) -> int:
        self._seed = (self._seed * 1103515245 + 12345) % (1 << 31)
        return self._seed

    def normal(self, deviation: float, channels: int = 1) -> keras.KerasTensor:
        return keras.random.normal((self._count, 1, 1, channels), stddev=deviation, seed=self._next())

    def uniform(self, low: float, high: float) -> keras.KerasTensor:
        return keras.random.uniform((self._count, 1, 1, 1), low, high, seed=self._next())

    def field(self, height: int, width: int) -> keras.KerasTensor:
        return keras.random.normal((self._count, height, width, 1), seed=self._next())


def _shadow(draw: _Draw, height: int, width: int) -> keras.KerasTensor:
    """A half plane of shade with a soft edge across each picture, `[N,H,W,1]` factors up to 1."""
    rows = ops.reshape(ops.linspace(-1.0, 1.0, height), (1, height, 1, 1))
    columns = ops.reshape(ops.linspace(-1.0, 1.0, width), (1, 1, width, 1))
    angle = draw.uniform(0.0, 2 * np.pi)
    across = columns * ops.cos(angle) + rows * ops.sin(angle) - draw.uniform(-0.8, 0.8)
    depth = ops.maximum(draw.uniform(-0.6, 0.6), 0.0)
    return 1.0 - depth * ops.sigmoid(across * draw.uniform(4.0, 40.0))


def _blur(x: keras.KerasTensor, draw: _Draw) -> keras.KerasTensor:
    """Mixes each picture with its 3x3 mean: out of focus for a third of them, sharper than it was for some."""
    mean = ops.average_pool(x, 3, strides=1, padding="same")
    amount = draw.uniform(-0.5, 1.0)
    return x + (mean - x) * amount

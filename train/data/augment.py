"""Augmentation of image batches, as Keras layers that run on every backend.

The layers are applied to the training data, so an exported network does not contain them. Each call takes a `seed`. A
batch therefore does not depend on earlier batches, and a resumed training run continues with the same batches.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

LUMA = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the brightness of a pixel. Source: ITU-R BT.601."""


class BatchChange(keras.layers.Layer):
    """Base class of the augmentation layers.

    The layers compute in float32, even if the network is trained in half precision.
    """

    def __init__(self) -> None:
        super().__init__(dtype="float32")

    def settings(self) -> dict[str, Any]:
        """Return the settings of the augmentation by name."""
        return {}


@dataclass(frozen=True, slots=True)
class AffineRanges:
    """Ranges of a random affine transformation. Each value is the maximum in both directions."""

    rotation: float = 40.0
    """Maximum rotation in degrees."""
    shift: float = 0.2
    """Maximum shift, as a share of the width and of the height."""
    shear: float = 0.2
    """Maximum shear angle in radians."""
    zoom: float = 0.2
    """Maximum relative change of the scale."""
    mirror: bool = True
    """True to flip half of the images horizontally."""
    share: float = 1.0
    """Share of the images that are transformed. The others stay unchanged, and are not blurred by interpolation."""


class RandomAffine(BatchChange):
    """Rotate, shift, shear, zoom and mirror each image independently, with a single interpolation.

    Args:
        ranges: The maximum of each transformation.
    """

    def __init__(self, ranges: AffineRanges | None = None) -> None:
        super().__init__()
        self.ranges = ranges or AffineRanges()

    def call(self, images: Any, seed: int = 0) -> Any:
        """Return the transformed images, `[N,H,W,C]` float. Areas outside the original image repeat its edge."""
        ranges = self.ranges
        count, height, width = len(images), images.shape[1], images.shape[2]
        draw = _Draw(count, seed)
        turn = np.deg2rad(ranges.rotation) * draw.flat(-1, 1)
        shear = ranges.shear * draw.flat(-1, 1)
        scale = 1 + ranges.zoom * draw.flat(-1, 1)
        side = ops.where(draw.flat(0, 1) < 0.5, -1.0, 1.0) if ranges.mirror else ops.ones((count,))
        # The matrix maps an output pixel to an input pixel, relative to the centre: (x, y) = M (x', y') + shift.
        a, b = scale * ops.cos(turn) * side, -scale * ops.sin(turn + shear)
        c, d = scale * ops.sin(turn) * side, scale * ops.cos(turn + shear)
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        shift_x = middle_x - a * middle_x - b * middle_y + ranges.shift * width * draw.flat(-1, 1)
        shift_y = middle_y - c * middle_x - d * middle_y + ranges.shift * height * draw.flat(-1, 1)
        zero = ops.zeros((count,))
        transforms = ops.stack([a, b, shift_x, c, d, shift_y, zero, zero], axis=1)
        changed = ops.image.affine_transform(
            images, transforms, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )
        return changed if ranges.share == 1.0 else ops.where(draw.uniform(0.0, 1.0) < ranges.share, changed, images)

    def settings(self) -> dict[str, Any]:
        """Return the maxima of the affine transformation by name."""
        return asdict(self.ranges)


class RandomMirror(BatchChange):
    """Flip half of the images horizontally, together with their target maps."""

    def call(self, pair: tuple[Any, Any], seed: int = 0) -> tuple[Any, Any]:
        """Return the images `[N,H,W,C]` and the targets `[N,h,w,K]`, some of them flipped."""
        images, truths = map(ops.convert_to_tensor, pair)
        flip = _Draw(len(images), seed).uniform(0.0, 1.0) < 0.5
        return tuple(ops.where(flip, ops.flip(one, axis=2), one) for one in (images, truths))


class RandomColour(BatchChange):
    """Change exposure, white balance, saturation and contrast of each image independently."""

    def call(self, images: Any, seed: int = 0) -> Any:
        """Return the changed images, `[N,H,W,3]` float RGB, 0-255."""
        draw = _Draw(len(images), seed)
        x = ops.convert_to_tensor(images) * ops.exp(draw.normal(0.25)) * ops.exp(draw.normal(0.06, channels=3))
        return ops.clip(_contrast(x, draw, 0.7, 1.3), 0.0, 255.0)


class RandomLight(BatchChange):
    """Change exposure, gamma, white balance, contrast, shadow, rain, focus and noise of each image independently."""

    def call(self, images: Any, seed: int = 0) -> Any:
        """Return the changed images, `[N,H,W,3]` float RGB, 0-255."""
        x = ops.convert_to_tensor(images) / 255.0
        draw = _Draw(len(images), seed)
        height, width = x.shape[1], x.shape[2]
        # Gamma darkens more often than it brightens: a camera that exposes for the sky leaves the ground dark.
        x = ops.power(ops.clip(x, 1e-4, 1.0), ops.exp(0.2 + draw.normal(0.45)))
        x = x * ops.exp(draw.normal(0.35)) * ops.exp(draw.normal(0.12, channels=3))
        x = x * _slope(draw, height)
        x = _contrast(x, draw, 0.6, 1.3)
        x = x * _shadow(draw, height, width)
        x = _rain(x, draw)
        x = _blur(x, draw)
        coarse = draw.field(height // 2 + height % 2, width // 2 + width % 2)
        noise = ops.repeat(ops.repeat(coarse, 2, axis=1), 2, axis=2)[:, :height, :width]
        x = x + noise * draw.uniform(0.0, 0.05)
        return ops.clip(x, 0.0, 1.0) * 255.0


def apply(layer: keras.layers.Layer, images: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Apply an augmentation layer to NumPy images `[N,H,W,C]`."""
    changed: NDArray[np.float32] = np.asarray(ops.convert_to_numpy(layer(images, seed=seed)), np.float32)
    return changed


class _Draw:
    """Generator of random numbers for one batch. Each call uses a different seed."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed

    def _next(self) -> int:
        self._seed = (self._seed * 1103515245 + 12345) % (1 << 31)
        return self._seed

    def flat(self, low: float, high: float) -> Any:
        return keras.random.uniform((self._count,), low, high, seed=self._next())

    def normal(self, deviation: float, channels: int = 1) -> Any:
        return keras.random.normal((self._count, 1, 1, channels), stddev=deviation, seed=self._next())

    def uniform(self, low: float, high: float) -> Any:
        return keras.random.uniform((self._count, 1, 1, 1), low, high, seed=self._next())

    def field(self, height: int, width: int) -> Any:
        return keras.random.normal((self._count, height, width, 1), seed=self._next())


def _contrast(x: Any, draw: _Draw, low: float, high: float) -> Any:
    """Change the saturation by a factor 0-1.5, and the contrast by a factor `low`-`high`."""
    grey = ops.sum(x * ops.convert_to_tensor(LUMA, x.dtype), axis=-1, keepdims=True)
    x = grey + (x - grey) * draw.uniform(0.0, 1.5)
    mean = ops.mean(grey, axis=(1, 2), keepdims=True)
    return mean + (x - mean) * draw.uniform(low, high)


def _slope(draw: _Draw, height: int) -> Any:
    """Return brightness factors `[N,H,1,1]` that are 1 at the top and decrease or increase towards the bottom."""
    rows = ops.reshape(ops.linspace(0.0, 1.0, height), (1, height, 1, 1))
    return ops.exp(draw.normal(0.4) * rows)


def _shadow(draw: _Draw, height: int, width: int) -> Any:
    """Return brightness factors `[N,H,W,1]`, at most 1, for two shadows in each image: a half plane and a wedge."""
    half = _edge(draw, height, width)
    wedge = _edge(draw, height, width) * _edge(draw, height, width)
    half_depth, wedge_depth = (ops.maximum(draw.uniform(-0.7, 0.75), 0.0) for _ in range(2))
    return (1.0 - half_depth * half) * (1.0 - wedge_depth * wedge)


def _edge(draw: _Draw, height: int, width: int) -> Any:
    """Return a map `[N,H,W,1]` that is 1 on one side of a random line and 0 on the other. The edge is sharp or soft."""
    rows = ops.reshape(ops.linspace(-1.0, 1.0, height), (1, height, 1, 1))
    columns = ops.reshape(ops.linspace(-1.0, 1.0, width), (1, 1, width, 1))
    angle = draw.uniform(0.0, 2 * np.pi)
    across = columns * ops.cos(angle) + rows * ops.sin(angle) - draw.uniform(-0.8, 0.8)
    return ops.sigmoid(across * draw.uniform(4.0, 60.0))


def _rain(x: Any, draw: _Draw) -> Any:
    """Add bright, nearly vertical streaks to a fifth of the images."""
    height, width = x.shape[1], x.shape[2]
    drops = ops.cast(draw.field(height, width) > 2.7, x.dtype)
    streaks = 9.0 * ops.average_pool(drops, (9, 1), strides=1, padding="same")
    return x + ops.minimum(streaks, 1.0) * ops.maximum(draw.uniform(-1.6, 0.4), 0.0)


def _blur(x: Any, draw: _Draw) -> Any:
    """Blend each image with its 3x3 mean. A positive weight of the mean blurs an image, a negative one sharpens it."""
    mean = ops.average_pool(x, 3, strides=1, padding="same")
    amount = draw.uniform(-0.5, 1.0)
    return x + (mean - x) * amount

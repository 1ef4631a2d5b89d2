"""Resize images like TensorFlow and Pillow, by rules that OpenCV lacks. Neither of the two libraries is needed.

Each axis is resized separately. Each pixel of the result is a weighted mean of the image's pixels. The weights are
those of a kernel around its centre. If the image shrinks, antialiasing makes the kernel wider by the same factor.
Weights outside the image are dropped, and the other weights are normalised to the sum 1.

Source: `precompute_coeffs` in Pillow, `src/libImaging/Resample.c` (MIT-CMU), and `ComputeSpansCore` in TensorFlow,
`tensorflow/core/kernels/image/scale_and_translate_op.cc` (Apache-2.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from orilla.runtime.preprocessing.placement import Placement

Floats = NDArray[np.float32] | NDArray[np.float64]

PIL_BITS = 22
"""Number of fractional bits in Pillow's fixed-point weights (`PRECISION_BITS` in its source). Sums of weight times
pixel are exact in float64."""

BLOCK = 16
"""Number of pixels of the result that one matrix product computes along an axis."""

CACHED = 32
"""Number of axes whose weights are cached. It is large because the crops of a cascade have different sizes."""


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.maximum(1 - np.abs(x), 0)
    return weights


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights of Keys' cubic convolution with the coefficient -0.5.

    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981).
    """
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """An interpolation rule, which defines the weights of pixels."""

    kernel: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    radius: float
    """Half of the kernel's width, in pixels."""
    antialias: bool
    pil: bool
    """True for Pillow's arithmetic: weights have `PIL_BITS` fractional bits, the width is resized before the height,
    and the result of each step is rounded to whole grey levels. Since version 13, Pillow resizes the height first if an
    image is taller than wide and its height shrinks."""

    @property
    def dtype(self) -> type[np.floating]:
        """Return the type of the weights and intermediate results."""
        return np.float64 if self.pil else np.float32


class Resample:
    """Resizes images of one size by one rule. The object reuses scratch memory, so it is not thread-safe.

    Args:
        rule: The rule of interpolation.
        placement: Where the frames lie in the network's input.
        channels: `(3,)` for frames `[H,W,3]`, `()` for frames `[H,W]`.
    """

    def __init__(self, rule: Rule, placement: Placement, channels: tuple[int, ...]) -> None:
        left, top, right, bottom = placement.visible_input_xyxy
        x, y = placement.offset_xy
        (height, width), (rows, columns) = placement.frame_hw, placement.resized_hw
        values = math.prod(channels)
        self._down = _axis(rule, (height, rows), (top - y, bottom - y), 1)
        self._across = _axis(rule, (width, columns), (left - x, right - x), values)
        self._pil = rule.pil
        whole = self._down.needed, self._across.needed
        # The crop of the frame that the result depends on. Each row contains all values of its pixels.
        self._part = whole[0], slice(whole[1].start // values, whole[1].stop // values)
        self._frame = np.empty((_length(whole[0]), _length(whole[1])), rule.dtype)
        self._result = np.empty((bottom - top, (right - left) * values), rule.dtype)
        first = (len(self._frame), self._result.shape[1]), (len(self._result), self._frame.shape[1])
        self._between = np.empty(first[0] if rule.pil else first[1], rule.dtype)

    def __call__(self, image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Resize an image.

        Args:
            image: The frame, `[H,W,3]` or `[H,W]` uint8. It is not changed.
            out: The visible part of the network's input, with the same channels. It may be a view.
        """
        part = image[self._part]
        np.copyto(self._frame.reshape(part.shape), part)
        if self._pil:
            self._across.apply_across(self._frame, self._between)
            _to_levels(self._between)
            np.floor(self._between, out=self._between)
            self._down.apply_down(self._between, self._result)
        else:
            self._down.apply_down(self._frame, self._between)
            self._across.apply_across(self._between, self._result)
        _to_levels(self._result)
        np.copyto(out, self._result.reshape(out.shape), casting="unsafe")


def _to_levels(values: Floats) -> None:
    """Add 0.5 and clip to 0–255 in place. A conversion to uint8 then rounds to the nearest grey level."""
    np.add(values, 0.5, out=values)
    np.clip(values, 0, 255, out=values)


def _length(part: slice) -> int:
    return int(part.stop - part.start)


@dataclass(frozen=True, slots=True)
class _Axis:
    """The weights along one axis, as one matrix for each block of the result."""

    needed: slice
    """The slice of the axis that the result depends on."""
    blocks: tuple[tuple[slice, slice, Floats], ...]
    """One tuple per block: the slice of the result, the slice of `needed` that it depends on, and the weight matrix
    `[result,needed]`."""

    def apply_down(self, image: Floats, out: Floats) -> None:
        """Resize the first axis of an image `[rows,values]`."""
        for result, needed, weights in self.blocks:
            np.matmul(weights, image[needed], out=out[result])

    def apply_across(self, image: Floats, out: Floats) -> None:
        """Resize the second axis of an image `[rows,values]`."""
        for result, needed, weights in self.blocks:
            np.matmul(image[:, needed], weights.T, out=out[:, result])


@lru_cache(CACHED)
def _axis(rule: Rule, sizes: tuple[int, int], window: tuple[int, int], values: int) -> _Axis:
    """Compute the weights along one axis.

    Args:
        rule: The rule of interpolation.
        sizes: Number of pixels of the frame and of the resized frame.
        window: First and last (exclusive) pixel of the resized frame to compute.
        values: Number of values of a pixel that are adjacent along this axis.
    """
    firsts, weights = _weights(rule, *sizes, np.arange(*window))
    needed_from, needed_to = int(firsts[0]), int((firsts + weights.shape[1]).max())
    blocks = []
    for start in range(0, len(firsts), BLOCK):
        block = slice(start, min(start + BLOCK, len(firsts)))
        first = int(firsts[block].min())
        matrix = np.zeros((_length(block), int(firsts[block].max()) + weights.shape[1] - first))
        for row, (begin, values_of_row) in enumerate(zip(firsts[block] - first, weights[block], strict=True)):
            matrix[row, begin : begin + len(values_of_row)] = values_of_row
        inside = slice((first - needed_from) * values, (first - needed_from + matrix.shape[1]) * values)
        result = slice(block.start * values, block.stop * values)
        blocks.append((result, inside, np.kron(matrix, np.eye(values)).astype(rule.dtype)))
    return _Axis(slice(needed_from * values, needed_to * values), tuple(blocks))


def _weights(
    rule: Rule, size: int, resized: int, pixels: NDArray[np.int_]
) -> tuple[NDArray[np.int_], NDArray[np.float64]]:
    """Return the weights for pixels of the result.

    Returns:
        The index of the first weighted pixel of the image for each pixel of the result, `[n]`, and the weights of this
        and the following pixels, `[n,k]`.
    """
    scale = size / resized
    width = max(scale, 1.0) if rule.antialias else 1.0
    centres = (pixels + 0.5) * scale
    count = min(size, 2 * math.ceil(rule.radius * width) + 1)
    firsts = np.clip(np.floor(centres - rule.radius * width).astype(int), 0, size - count)
    weights = rule.kernel((firsts[:, np.newaxis] + np.arange(count) + 0.5 - centres[:, np.newaxis]) / width)
    weights /= weights.sum(axis=1, keepdims=True)
    if rule.pil:
        weights = np.sign(weights) * np.floor(np.abs(weights) * 2**PIL_BITS + 0.5) / 2**PIL_BITS
    return firsts, weights


RULES: dict[str, Rule] = {
    "keras-bilinear": Rule(_triangle, 1, antialias=False, pil=False),
    "keras-bicubic": Rule(_cubic, 2, antialias=False, pil=False),
    "keras-bilinear-antialias": Rule(_triangle, 1, antialias=True, pil=False),
    "keras-bicubic-antialias": Rule(_cubic, 2, antialias=True, pil=False),
    "pil-bilinear": Rule(_triangle, 1, antialias=True, pil=True),
    "pil-bicubic": Rule(_cubic, 2, antialias=True, pil=True),
    "pil-lanczos": Rule(_lanczos, 3, antialias=True, pil=True),
}
"""Rules of TensorFlow's `tf.image.resize`, which Keras layers use, and of Pillow's `Image.resize`."""

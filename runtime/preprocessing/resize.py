"""Resize images by named interpolation rules. A network needs the rule with which it was trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.preprocessing.placement import Placement
from orilla.runtime.preprocessing.resample import RULES, Resample

Interpolation = Literal[
    "halve-linear",
    "nearest",
    "linear",
    "area",
    "cubic",
    "keras-nearest",
    "keras-bilinear",
    "keras-bicubic",
    "keras-bilinear-antialias",
    "keras-bicubic-antialias",
    "pil-bilinear",
    "pil-bicubic",
    "pil-lanczos",
]
"""Name of an interpolation rule: a key of `WHOLE_RULES` or `RULES`."""

Pixels = NDArray[np.uint8]
"""Pixels `[H,W,3]` or `[H,W]` uint8."""

Resize = Callable[[Pixels, Pixels], None]
"""Function `(image, out)` that resizes an image of a fixed size and writes the result into `out`, which may be a view.
The function reuses scratch memory, so it is not thread-safe."""


def plan_resize(interpolation: Interpolation, placement: Placement, channels: tuple[int, ...]) -> Resize:
    """Return a function that resizes frames of one size and writes the part that is visible in the network's input.

    Args:
        interpolation: Name of the rule of interpolation.
        placement: Where the frames lie in the network's input.
        channels: `(3,)` for frames `[H,W,3]`, `()` for frames `[H,W]`.
    """
    if interpolation in RULES:
        return Resample(RULES[interpolation], placement, channels)
    resize = WHOLE_RULES[interpolation](placement.frame_hw, placement.resized_hw, channels)
    return resize if placement.shows_whole_frame else _Cut(resize, placement, channels)


class _Cut:
    """Resizes an image and cuts out the visible part."""

    def __init__(self, resize: Resize, placement: Placement, channels: tuple[int, ...]) -> None:
        left, top, right, bottom = placement.visible_input_xyxy
        x, y = placement.offset_xy
        self._resize = resize
        self._resized = np.empty((*placement.resized_hw, *channels), np.uint8)
        self._visible = self._resized[top - y : bottom - y, left - x : right - x]

    def __call__(self, image: Pixels, out: Pixels) -> None:
        self._resize(image, self._resized)
        np.copyto(out, self._visible)


class _HalveLinear:
    """Halves an image while it has at least twice the size of the result, and then interpolates linearly."""

    def __init__(self, from_hw: tuple[int, int], to_hw: tuple[int, int], channels: tuple[int, ...]) -> None:
        self._size = to_hw[::-1]
        self._halves: list[tuple[tuple[slice, slice], tuple[int, int], Pixels]] = []
        height, width = from_hw
        while height >= 2 * to_hw[0] and width >= 2 * to_hw[1]:
            height, width = height // 2, width // 2
            # If the number of rows or columns is odd, the last one is dropped, so that every mean covers exactly 2x2
            # pixels.
            even = slice(2 * height), slice(2 * width)
            self._halves.append((even, (width, height), np.empty((height, width, *channels), np.uint8)))

    def __call__(self, image: Pixels, out: Pixels) -> None:
        for even, size, halved in self._halves:
            image = cv2.resize(image[even], size, dst=halved, interpolation=cv2.INTER_AREA)
        cv2.resize(image, self._size, dst=out, interpolation=cv2.INTER_LINEAR)


class _Area:
    """Averages the area that each pixel of the result covers.

    OpenCV does this only if no side grows, or if no side shrinks. Otherwise, the image is first shrunk along one axis.
    """

    def __init__(self, from_hw: tuple[int, int], to_hw: tuple[int, int], channels: tuple[int, ...]) -> None:
        del channels
        self._size = to_hw[::-1]
        self._shrunk_hw = min(from_hw[0], to_hw[0]), min(from_hw[1], to_hw[1])
        self._two_steps = self._shrunk_hw not in (from_hw, to_hw)

    def __call__(self, image: Pixels, out: Pixels) -> None:
        if self._two_steps:
            exact = cv2.resize(image.astype(np.float32), self._shrunk_hw[::-1], interpolation=cv2.INTER_AREA)
            exact = cv2.resize(exact, self._size, interpolation=cv2.INTER_AREA)
            np.copyto(out, np.rint(exact), casting="unsafe")
        else:
            cv2.resize(image, self._size, dst=out, interpolation=cv2.INTER_AREA)


def _nearest(
    positions: Callable[[int, int], NDArray[np.floating]],
) -> Callable[[tuple[int, int], tuple[int, int], tuple[int, ...]], Resize]:
    """Return the plan of a nearest-neighbour rule: each pixel of the result is the image's pixel at its centre.

    If the centre lies exactly between two pixels, as with 640 pixels resized to 224, rounding errors decide which one
    is used. OpenCV 5's `INTER_NEAREST_EXACT` uses the same pixel as Pillow, but OpenCV 4's does not.

    Args:
        positions: Function that takes the number of pixels of the image and of the result along an axis, and returns
            the position in the image of the centre of each pixel of the result.
    """

    def plan(from_hw: tuple[int, int], to_hw: tuple[int, int], channels: tuple[int, ...]) -> Resize:
        del channels
        rows, columns = (
            np.minimum(positions(before, after).astype(np.intp), before - 1)
            for before, after in zip(from_hw, to_hw, strict=True)
        )
        pixels = np.ix_(rows, columns)

        def resize(image: Pixels, out: Pixels) -> None:
            np.copyto(out, image[pixels])

        return resize

    return plan


def _pil_positions(before: int, after: int) -> NDArray[np.float64]:
    """Return the positions as Pillow computes them: the step from pixel to pixel is added repeatedly in float64.

    Source: `ImagingScaleAffine` in Pillow, `src/libImaging/Geometry.c` (MIT-CMU).
    """
    steps = np.full(after, before / after)
    steps[0] /= 2
    return np.cumsum(steps)


def _keras_positions(before: int, after: int) -> NDArray[np.float32]:
    """Return the positions as TensorFlow computes them: the index of the pixel is multiplied by the step in float32.

    Source: `HalfPixelScalerForNN` in TensorFlow, `tensorflow/core/util/image_resizer_state.h` (Apache-2.0).
    """
    positions: NDArray[np.float32] = np.arange(0.5, after, dtype=np.float32) * (np.float32(before) / np.float32(after))
    return positions


def _opencv(flag: int) -> Callable[[tuple[int, int], tuple[int, int], tuple[int, ...]], Resize]:
    """Return the plan of an OpenCV interpolation rule."""

    def plan(from_hw: tuple[int, int], to_hw: tuple[int, int], channels: tuple[int, ...]) -> Resize:
        del from_hw, channels
        size = to_hw[::-1]

        def resize(image: Pixels, out: Pixels) -> None:
            cv2.resize(image, size, dst=out, interpolation=flag)

        return resize

    return plan


WHOLE_RULES: dict[str, Callable[[tuple[int, int], tuple[int, int], tuple[int, ...]], Resize]] = {
    "halve-linear": _HalveLinear,
    "nearest": _nearest(_pil_positions),
    "linear": _opencv(cv2.INTER_LINEAR),
    "area": _Area,
    "cubic": _opencv(cv2.INTER_CUBIC),
    "keras-nearest": _nearest(_keras_positions),
}
"""Interpolation rules that resize a whole image.

Each function takes the height and width before and after, and `channels` as for `plan_resize`, and returns a `Resize`.
All rules assume that the centre of a pixel is half a pixel from its edge.

- `halve-linear` halves the image repeatedly, by averaging blocks of 2x2 pixels, while it has at least twice the height
  and width of the result. Then it interpolates linearly.
- `nearest` is Pillow's `NEAREST`. It differs from OpenCV's `INTER_NEAREST_EXACT` only by rounding errors.
- `linear`, `area` and `cubic` are OpenCV's `INTER_LINEAR`, `INTER_AREA` and `INTER_CUBIC`. `area` is also TensorFlow's,
  and `cubic` has the coefficient -0.75. `linear` and `cubic` use only 2 and 4 pixels along each axis, so they cause
  aliasing if the image shrinks much.
- `keras-nearest` is TensorFlow's.
"""

"""Describe where a frame lies in the network's input, and map positions and grids from one to the other.

Positions are continuous: pixel `i` covers the interval from `i` to `i + 1`, and its centre is `i + 0.5`. The box
`[0, 0, W, H]` therefore covers a whole frame. If the frame is stretched to an input of `h` x `w` pixels, this box
becomes `[0, 0, w, h]`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError

Anchor = Literal["center", "top-left"]
Rounding = Literal["down", "nearest"]

MAX_SCALED = 1 << 25
"""Maximum number of pixels of a scaled frame before its centre is cut out. Only frames whose sides differ by a factor
of several hundred exceed this limit."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Position and size of a frame in the network's input.

    A position `x` in the frame lies at `x * scale + offset` in the input, and likewise for `y`.
    """

    frame_hw: tuple[int, int]
    """Height and width of the frame in pixels."""
    input_hw: tuple[int, int]
    """Height and width of the network's input in pixels."""
    resized_hw: tuple[int, int]
    """Height and width of the resized frame in whole pixels of the input, before a crop."""
    scale_xy: tuple[float, float]
    """Pixels of the input per pixel of the frame, in x and y."""
    offset_xy: tuple[int, int]
    """Position of the frame's left and top edge in the input, in pixels. For a crop, it is negative or 0."""

    def to_input(self, points_xy: NDArray[Any]) -> NDArray[np.float64]:
        """Convert positions in the frame, `[...,2]` in pixels, into positions in the network's input."""
        points: NDArray[np.float64] = np.asarray(points_xy, np.float64) * self.scale_xy + self.offset_xy
        return points

    def to_frame(self, points_xy: NDArray[Any]) -> NDArray[np.float64]:
        """Convert positions in the network's input, `[...,2]` in pixels, into positions in the frame.

        Positions that lie outside the frame are not clipped.
        """
        points: NDArray[np.float64] = (np.asarray(points_xy, np.float64) - self.offset_xy) / self.scale_xy
        return points

    @property
    def visible_input_xyxy(self) -> tuple[int, int, int, int]:
        """Return the part of the input that shows the frame: left, top, right and bottom edge in whole pixels."""
        (height, width), (left, top) = self.resized_hw, self.offset_xy
        right, bottom = min(self.input_hw[1], left + width), min(self.input_hw[0], top + height)
        return max(0, left), max(0, top), right, bottom

    @property
    def visible_frame_xyxy(self) -> tuple[float, float, float, float]:
        """Return the part of the frame that the input shows: left, top, right and bottom edge in pixels."""
        left, top, right, bottom = self.visible_input_xyxy
        x, y = self.offset_xy
        (height, width), (rows, columns) = self.frame_hw, self.resized_hw
        horizontal = (left - x) * width / columns, (right - x) * width / columns
        vertical = (top - y) * height / rows, (bottom - y) * height / rows
        return horizontal[0], vertical[0], horizontal[1], vertical[1]

    @property
    def fills_input(self) -> bool:
        """Return True if every pixel of the input shows the frame, so that there is no border."""
        if self.resized_hw == self.input_hw:
            return True
        return self.visible_input_xyxy == (0, 0, self.input_hw[1], self.input_hw[0])

    @property
    def shows_whole_frame(self) -> bool:
        """Return True if the whole frame is visible in the input, so that nothing is cut off."""
        if self.resized_hw == self.input_hw:
            return True
        left, top, right, bottom = self.visible_input_xyxy
        return (bottom - top, right - left) == self.resized_hw


def stretched(frame_hw: tuple[int, int], input_hw: tuple[int, int]) -> Placement:
    """Return the placement of a frame whose height and width are scaled independently to those of the input."""
    scale_xy = input_hw[1] / frame_hw[1], input_hw[0] / frame_hw[0]
    return Placement(frame_hw, input_hw, input_hw, scale_xy, (0, 0))


def letterboxed(frame_hw: tuple[int, int], input_hw: tuple[int, int], anchor: Anchor, rounding: Rounding) -> Placement:
    """Return the placement of a frame that is scaled until it touches two opposite edges of the input.

    The scale is `r = min(h / H, w / W)` in both axes. The side that does not fill the input becomes `r` times its
    length, rounded to whole pixels. The scale for positions stays `r` in both axes, because the published decoders of
    detectors divide boxes by `r`. At the far edge of the rounded axis, positions therefore deviate by less than 1 pixel
    of the input (`down`) or by at most half a pixel (`nearest`).

    Args:
        frame_hw: Height and width of the frame in pixels.
        input_hw: Height and width of the input in pixels.
        anchor: `center` puts half of the border on each side. If the border is an odd number of pixels, the right or
            bottom part is the larger one. `top-left` puts the whole border to the right or the bottom.
        rounding: `down` rounds down to whole pixels. `nearest` rounds to the nearest whole number, and halves to the
            nearest even number, like Python's `round`. The result is at least 1 pixel.

    Source: `preproc` in YOLOX, `yolox/data/data_augment.py` (Apache-2.0), is `top-left` and `down`. The exporters of
    detectors with a centred frame round to the nearest number.
    """
    (frame_height, frame_width), (height, width) = frame_hw, input_hw
    # Exact fractions give the same result on every machine. With floats, a rounding error could turn 416 into 415.
    ratio = min(Fraction(height, frame_height), Fraction(width, frame_width))
    whole = math.floor if rounding == "down" else round
    resized = max(1, whole(frame_height * ratio)), max(1, whole(frame_width * ratio))
    offset = ((width - resized[1]) // 2, (height - resized[0]) // 2) if anchor == "center" else (0, 0)
    return Placement(frame_hw, input_hw, resized, (float(ratio), float(ratio)), offset)


def cropped(frame_hw: tuple[int, int], input_hw: tuple[int, int], fraction: float) -> Placement:
    """Return the placement of a frame that is scaled until it covers the input, and whose centre is cut out.

    The frame is scaled so that it just covers `floor(h / fraction)` x `floor(w / fraction)` pixels. The longer side is
    rounded down to whole pixels. The crop begins at half of the excess, which is rounded to the nearest whole number,
    and halves to the nearest even number.

    Args:
        frame_hw: Height and width of the frame in pixels.
        input_hw: Height and width of the input in pixels.
        fraction: Length of the crop as a share of the shorter side, above 0 and at most 1. The usual value for
            ImageNet, 224 of 256 pixels, is 0.875.

    Raises:
        DataError: The sides of the frame are so different that the scaled frame has more than `MAX_SCALED` pixels.

    Source: torchvision, `Resize` and `CenterCrop` in `torchvision/transforms/functional.py` (BSD-3-Clause).
    """
    (frame_height, frame_width), (height, width) = frame_hw, input_hw
    covered = math.floor(height / fraction), math.floor(width / fraction)
    ratio = max(Fraction(covered[0], frame_height), Fraction(covered[1], frame_width))
    resized = math.floor(frame_height * ratio), math.floor(frame_width * ratio)
    if resized[0] * resized[1] > MAX_SCALED:
        msg = (
            f"a frame of {frame_height}x{frame_width} pixels cannot be cropped to {height}x{width}: its sides are too "
            "different; crop it first"
        )
        raise DataError(msg)
    offset = -round((resized[1] - width) / 2), -round((resized[0] - height) / 2)
    return Placement(frame_hw, input_hw, resized, (resized[1] / frame_width, resized[0] / frame_height), offset)


def unscaled(frame_hw: tuple[int, int], input_hw: tuple[int, int]) -> Placement:
    """Return the placement of a frame that has the size of the input. Raise `DataError` if the sizes differ."""
    if frame_hw != input_hw:
        msg = (
            f"the model takes images of exactly {input_hw[0]}x{input_hw[1]} pixels (resize `none`), got "
            f"{frame_hw[0]}x{frame_hw[1]}: resize or crop the image first"
        )
        raise DataError(msg)
    return Placement(frame_hw, input_hw, input_hw, (1.0, 1.0), (0, 0))


def grid_to_frame(
    grid: NDArray[np.float32], placement: Placement, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Resize a grid of numbers over the network's input to the size of the frame, by bilinear interpolation.

    The border of a letterbox is cut off. Pixels of the frame outside a crop become 0.

    Args:
        grid: Numbers `[h,w]` float32. The grid covers the whole input and may be coarser or finer than it.
        placement: Position and size of the frame in the network's input.
        out: Buffer `[H,W]` float32 for the result, C-contiguous. If None, memory is allocated.

    Returns:
        The numbers of the frame's pixels, `[H,W]` float32.
    """
    height, width = placement.frame_hw
    if placement.fills_input and placement.shows_whole_frame:
        resized: NDArray[np.float32] = cv2.resize(grid, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
        return resized
    if out is None:
        out = np.empty((height, width), np.float32)
    # At least one pixel is computed, even if no pixel of the frame has a visible centre.
    left, top, right, bottom = (math.ceil(edge - 0.5) for edge in placement.visible_frame_xyxy)
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    if not placement.shows_whole_frame:
        out.fill(0)
    matrix = np.stack([_along(placement, grid, 1, left), _along(placement, grid, 0, top)])
    cv2.warpAffine(
        grid,
        matrix,
        (right - left, bottom - top),
        dst=out[top:bottom, left:right],
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return out


def _along(placement: Placement, grid: NDArray[np.float32], axis: int, first: int) -> NDArray[np.float64]:
    """Return a row of the affine matrix that maps pixels of the frame to cells of the grid, for one axis.

    Args:
        placement: Position and size of the frame in the network's input.
        grid: The grid.
        axis: 0 for y, 1 for x.
        first: Index of the frame's pixel that has the coordinate 0 in the matrix.
    """
    cells = grid.shape[axis] / placement.input_hw[axis]
    # Use the real scale of the pixels. In a letterbox, it differs from `scale_xy`, because the frame's size is rounded.
    scale = placement.resized_hw[axis] / placement.frame_hw[axis]
    row = np.zeros(3)
    row[1 - axis] = scale * cells
    row[2] = ((first + 0.5) * scale + placement.offset_xy[1 - axis]) * cells - 0.5
    return row

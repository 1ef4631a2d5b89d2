"""The one way from a raw frame to a network's input; training, calibration, verification and the loop all call it."""

from __future__ import annotations

from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, unknown_name

Image = NDArray[np.uint8]
"""`[H,W,3]` uint8."""

Color = Literal["bgr", "rgb"]


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="picture"):
    """What is left outside the graph; normalisation is inside it, so a network takes values 0-255."""

    size_hw: tuple[int, int]
    """Height and width of the network's input, pixels."""
    color: Color = "rgb"
    """Channel order of the network's input."""
    resize: Literal["stretch"] = "stretch"
    """`stretch`: both axes are scaled to the input size, the picture's aspect is not kept."""
    interpolation: Literal["halve-linear"] = "halve-linear"
    """`halve-linear`: 2x2 means while the picture is at least twice the input in both axes, then bilinear."""


class Preprocessor:
    """Runs one `Preprocess`, reusing its scratch pictures from frame to frame. Not for use by two threads at once."""

    def __init__(self, spec: Preprocess) -> None:
        self.spec = spec
        self._scratch: dict[tuple[int, int], Image] = {}
        self._shape: tuple[int, ...] = ()

    def __call__(self, image: Image, out: Image | None = None, *, color: Color = "bgr") -> Image:
        """Resizes and reorders one frame.

        Args:
            image: `[H,W,3]` uint8; read only.
            out: `[h,w,3]` uint8, C-contiguous, written in place; allocated where None.
            color: channel order of `image`.

        Returns:
            `out`, `[h,w,3]` uint8 in the channel order that the network expects.

        Raises:
            DataError: `image` has another shape or type, or no pixels.
            ConfigError: an unknown colour order.
        """
        check_image(image)
        if color not in ("bgr", "rgb"):
            msg = "colour order"
            raise unknown_name(msg, color, ("bgr", "rgb"))
        if image.shape != self._shape:
            self._shape, self._scratch = image.shape, {}
        height, width = self.spec.size_hw
        if out is None:
            out = np.empty((height, width, 3), np.uint8)
        image = self._halve(image, height, width)
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
        if color != self.spec.color:
            cv2.cvtColor(out, cv2.COLOR_BGR2RGB, dst=out)
        return out

    def _halve(self, image: Image, height: int, width: int) -> Image:
        while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
            rows, columns = image.shape[0] // 2, image.shape[1] // 2
            scratch = self._scratch.get((rows, columns))
            if scratch is None:
                scratch = self._scratch[rows, columns] = np.empty((rows, columns, 3), np.uint8)
            # An odd last row or column is left out, so that every mean is over exactly 2x2 pixels.
            even = image[: 2 * rows, : 2 * columns]
            image = cv2.resize(even, (columns, rows), dst=scratch, interpolation=cv2.INTER_AREA)
        return image


def prepare(image: Image, spec: Preprocess, *, color: Color = "bgr") -> Image:
    """One frame through `spec`, without a `Preprocessor` to keep; see `Preprocessor.__call__`."""
    return Preprocessor(spec)(image, color=color)


def check_image(image: Image) -> None:
    """Raises `DataError` unless `image` is `[H,W,3]` uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        msg = f"expected a picture as a NumPy array [H,W,3] uint8, got {type(image).__name__}"
        raise DataError(msg)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        msg = f"expected a picture [H,W,3] uint8, got {list(image.shape)} {image.dtype}: convert it first"
        raise DataError(msg)
    if image.size == 0:
        msg = f"expected a picture with pixels, got {list(image.shape)}"
        raise DataError(msg)

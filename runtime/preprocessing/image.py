"""Preprocessing of images. Training, calibration, verification and the loop use the same code."""

from __future__ import annotations

from typing import Literal

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError, unknown_name

Image = NDArray[np.uint8]
"""Image, `[H,W,3]` uint8."""

Color = Literal["bgr", "rgb"]


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="image"):
    """Preprocessing outside the network: size and channel order. The network normalises the values 0–255 itself."""

    size_hw: tuple[int, int]
    """Height and width of the network's input in pixels."""
    color: Color = "rgb"
    """Channel order of the network's input."""
    resize: Literal["stretch"] = "stretch"
    """`stretch` scales height and width independently."""
    interpolation: Literal["halve-linear"] = "halve-linear"
    """`halve-linear` halves the image by averaging 2x2 pixels as long as it has at least twice the height and width of
    the input. Then it interpolates linearly."""


class Preprocessor:
    """Preprocesses images as a `Preprocess` specifies. It reuses scratch memory, so it is not thread-safe."""

    def __init__(self, spec: Preprocess) -> None:
        self.spec = spec
        self._scratch: dict[tuple[int, int], Image] = {}
        self._shape: tuple[int, ...] = ()

    def __call__(self, image: Image, out: Image | None = None, *, color: Color = "bgr") -> Image:
        """Resize and reorder one frame.

        Args:
            image: Image `[H,W,3]` uint8. It is not changed.
            out: Output buffer `[h,w,3]` uint8, C-contiguous. If None, a buffer is allocated.
            color: Channel order of `image`.

        Returns:
            The output buffer, in the channel order of the network.

        Raises:
            DataError: The image has another shape or type, or no pixels.
            ConfigError: The channel order is unknown.
        """
        check_image(image)
        if color not in ("bgr", "rgb"):
            raise unknown_name(color, ("bgr", "rgb"), kind="colour order")
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
            # If the number of rows or columns is odd, the last one is left out, so that every mean covers exactly 2x2
            # pixels.
            even = image[: 2 * rows, : 2 * columns]
            image = cv2.resize(even, (columns, rows), dst=scratch, interpolation=cv2.INTER_AREA)
        return image


def prepare(image: Image, spec: Preprocess, *, color: Color = "bgr") -> Image:
    """Preprocess one frame with a new `Preprocessor`. See `Preprocessor.__call__`."""
    return Preprocessor(spec)(image, color=color)


def check_image(image: Image) -> None:
    """Raise `DataError` if `image` is not `[H,W,3]` uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray):
        msg = f"expected an image as a NumPy array [H,W,3] uint8, got {type(image).__name__}"
        raise DataError(msg)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        msg = f"expected an image [H,W,3] uint8, got shape {list(image.shape)} and type {image.dtype}: convert it first"
        raise DataError(msg)
    if image.size == 0:
        msg = f"expected an image with pixels, got shape {list(image.shape)}"
        raise DataError(msg)

"""Segmentation: a grid of probabilities in, a mask of the frame's own size out."""

from __future__ import annotations

import threading
from functools import cached_property

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import BundleError
from orilla.runtime.preprocessing.buffer_pool import BufferPool

THRESHOLD = 0.5
"""A pixel belongs to the class from this probability on."""


class Segmentation(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Where in a frame a class was found."""

    probability: NDArray[np.float32]
    """`[h,w]` float32 in 0-1, the network's own grid; the result's own copy."""
    frame_hw: tuple[int, int]
    """Height and width of the frame, pixels."""
    label: str

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """`[H,W]` bool at the frame's own size, computed at first use: probability interpolated, then thresholded.

        Read only; it stays what it is for as long as you, or a view of yours, hold it, and its memory is used again
        afterwards.
        """
        height, width = self.frame_hw
        mask = _BUFFERS.masks.take((height, width)).view(np.bool_)
        np.greater_equal(self._interpolated(_BUFFERS.scratch(height, width)), THRESHOLD, out=mask)
        mask.setflags(write=False)
        return mask

    @property
    def resized(self) -> NDArray[np.float32]:
        """`[H,W]` float32 in 0-1: the probability interpolated to the frame's own size, anew at each use."""
        return self._interpolated(None)

    @property
    def box_xyxy(self) -> tuple[int, int, int, int] | None:
        """Left, top, right and bottom edge of all that was found, in pixels of the frame, right and bottom outside;
        None where nothing was."""
        found = self.probability >= THRESHOLD
        rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
        if not len(rows):
            return None
        (height, width), (down, across) = self.frame_hw, found.shape
        left, right = int(columns[0]) * width // across, -(-(int(columns[-1]) + 1) * width // across)
        top, bottom = int(rows[0]) * height // down, -(-(int(rows[-1]) + 1) * height // down)
        return left, top, right, bottom

    @cached_property
    def fraction(self) -> float:
        """Share of the network's grid that belongs to the class, 0-1."""
        return float(np.count_nonzero(self.probability >= THRESHOLD)) / self.probability.size

    def to_dict(self) -> dict[str, object]:
        """What one JSON line says of the result."""
        return {"task": "segment", "label": self.label, "fraction": round(self.fraction, 4), **self._extent()}

    def _interpolated(self, out: NDArray[np.float32] | None) -> NDArray[np.float32]:
        height, width = self.frame_hw
        resized: NDArray[np.float32] = cv2.resize(
            self.probability, (width, height), dst=out, interpolation=cv2.INTER_LINEAR
        )
        return resized

    def _extent(self) -> dict[str, object]:
        """Centre (0-1 of width and height) and topmost row (0-1 of height) of the class; None where it is absent."""
        found = self.probability >= THRESHOLD
        rows, columns = np.count_nonzero(found, axis=1), np.count_nonzero(found, axis=0)
        total = int(rows.sum())
        if not total:
            return {"centre_xy": None, "top_y": None}
        height, width = found.shape
        x = float(columns @ (np.arange(width) + 0.5)) / total / width
        y = float(rows @ (np.arange(height) + 0.5)) / total / height
        return {"centre_xy": [round(x, 4), round(y, 4)], "top_y": round(int(np.argmax(rows > 0)) / height, 4)}


class _Buffers(threading.local):
    """Memory for masks, of each thread that asks for one."""

    def __init__(self) -> None:
        self.masks = BufferPool()
        self._scratch: NDArray[np.float32] = np.empty((0, 0), np.float32)

    def scratch(self, height: int, width: int) -> NDArray[np.float32]:
        if self._scratch.shape != (height, width):
            self._scratch = np.empty((height, width), np.float32)
        return self._scratch


_BUFFERS = _Buffers()


def decode(output: NDArray[np.float32], frame_hw: tuple[int, int], label: str) -> Segmentation:
    """Turns one output, `[1,h,w,1]` or `[h,w,1]` float32 probabilities, into a result that owns its data.

    Raises:
        BundleError: an output of another shape.
    """
    if output.ndim not in (3, 4) or output.shape[-1] != 1 or output.size != output.shape[-3] * output.shape[-2]:
        msg = f"the variant's output is {list(output.shape)}: a segmentation gives [1,height,width,1]"
        raise BundleError(msg)
    return Segmentation(np.array(output, np.float32, copy=True).reshape(output.shape[-3:-1]), frame_hw, label)

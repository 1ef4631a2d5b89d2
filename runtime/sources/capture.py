"""From OpenCV's capture to a BGR picture, in a buffer that is used again."""

from __future__ import annotations

import cv2
import numpy as np

from orilla.devices.errors import DataError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.preprocessing.image import Image
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.sources.source import now_ns

MAX_CORRUPT = 100
"""Frames in a row that cannot be used before a live source counts as lost."""


def rate_of(capture: cv2.VideoCapture) -> float | None:
    """Frames per second that the capture names, where they are ones."""
    rate = float(capture.get(cv2.CAP_PROP_FPS))
    return rate if 0 < rate <= 1000 else None


def retrieved(capture: cv2.VideoCapture, pool: BufferPool) -> Image | None:
    """The frame that was grabbed, in a buffer of `pool` where it fits; None where it cannot be decoded."""
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    buffer = pool.take((height, width, 3)) if width > 0 and height > 0 else None
    try:
        ok, image = capture.retrieve(buffer)
    except cv2.error:
        return None
    return image if ok and isinstance(image, np.ndarray) else None


class CorruptFrames:
    """Makes an event of a frame that cannot be used, and a loss of many in a row."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._in_a_row = 0

    def checked(self, index: int, image: Image | None, captured_ns: int) -> Frame | Event:
        """The frame, its picture made BGR where it is grey, deep or has alpha; or the event that it is none.

        Raises:
            SourceError: `MAX_CORRUPT` in a row.
        """
        try:
            if image is None:
                msg = "it cannot be decoded"
                raise DataError(msg)
            frame = Frame(index, as_bgr(image), captured_ns)
        except DataError as error:
            self._in_a_row += 1
            if self._in_a_row >= MAX_CORRUPT:
                msg = f"{self._name} gave {MAX_CORRUPT} frames in a row that cannot be used"
                raise SourceError(msg) from error
            return Event("corrupt", index, now_ns(), f"frame {index} of {self._name} is passed over: {error}")
        self._in_a_row = 0
        return frame

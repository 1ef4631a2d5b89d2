"""Source for images from the caller: an array, a list or a generator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.sources.source import now_ns


class Arrays:
    """Yields one frame per image. The capture time is the moment at which the image is taken from the iterable.

    Args:
        images: Iterable of images. Each is `[H,W,3]` uint8 BGR, or has a form that `as_bgr` converts. The source
            does not copy them, so do not write into an image that it has taken.
        live: True if the images arrive in real time, as from a camera. The default policy is then `latest`.
        rate_hz: Frame rate of a recorded source in frames per second. None if it has no frame rate.
    """

    def __init__(
        self, images: Iterable[NDArray[np.uint8]], *, live: bool = False, rate_hz: float | None = None
    ) -> None:
        self.live, self.rate_hz = live, rate_hz
        self._images = iter(images)
        self._index = 0

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        try:
            image = next(self._images)
        except StopIteration:
            return None
        index, captured_ns = self._index, now_ns()
        self._index += 1
        try:
            return Frame(index, as_bgr(image), captured_ns)
        except DataError as error:
            return Event("corrupt", index, captured_ns, f"image {index} is skipped: {error}")

    def close(self) -> None:
        """Release the source."""
        self._images = iter(())

"""Source of images that the caller has: an array, a list or a generator."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.sources.source import now_ns


class Arrays:
    """One frame per image, stamped when it is taken from the iterable.

    Args:
        pictures: Images, `[H,W,3]` uint8 BGR each, or grey, 16-bit or with alpha (see `as_bgr`). The loop owns each
            from then on, so do not write into it.
        live: True if the images arrive in real time, as from a camera. The default policy is then `latest`.
        rate_hz: Images per second of a recording, or None.
    """

    def __init__(
        self, pictures: Iterable[NDArray[np.uint8]], *, live: bool = False, rate_hz: float | None = None
    ) -> None:
        self.live, self.rate_hz = live, rate_hz
        self._pictures = iter(pictures)
        self._index = 0

    def read(self) -> Frame | Event | None:
        try:
            picture = next(self._pictures)
        except StopIteration:
            return None
        index, captured_ns = self._index, now_ns()
        self._index += 1
        try:
            return Frame(index, as_bgr(picture), captured_ns)
        except DataError as error:
            return Event("corrupt", index, captured_ns, f"image {index} is skipped: {error}")

    def close(self) -> None:
        self._pictures = iter(())

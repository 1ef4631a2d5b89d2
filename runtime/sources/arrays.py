"""Pictures that the caller has: an array of them, a list, or a generator that makes one after the other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import as_bgr
from orilla.runtime.sources.source import now_ns


class Arrays:
    """One frame for each picture, stamped when it is handed over.

    Args:
        pictures: `[H,W,3]` uint8 BGR each, or grey, 16-bit or with alpha (see `as_bgr`). Each belongs to the loop from
            then on: don't write into it again.
        live: whether the pictures come as time goes on, as from a camera: then policy `latest` is the default.
        rate_hz: pictures per second of a recording, where there is such a rate.
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
            return Event("corrupt", index, captured_ns, f"picture {index} is passed over: {error}")

    def close(self) -> None:
        self._pictures = iter(())

"""Picture buffers that are used again as soon as nobody holds them."""

from __future__ import annotations

import sys

import numpy as np

from orilla.runtime.preprocessing.image import Image

KEPT = 32
"""Buffers kept for use again; more are allocated where the caller holds more, and freed when it lets go."""

_UNHELD = 3
"""References to a buffer that only the pool holds: its list, the loop's variable and the argument of `getrefcount`."""


class BufferPool:
    """Hands out buffers of one shape at a time, to one thread.

    A buffer is handed out again only when no array or view refers to it any more, so that a steady stream allocates
    nothing, and who keeps a picture keeps it unchanged.

    Args:
        ready: buffers that are allocated and touched at once.
    """

    def __init__(self, ready: int = 0) -> None:
        self._ready = ready
        self._buffers: list[Image] = []

    def take(self, shape: tuple[int, ...]) -> Image:
        """A buffer `[H,W,3]` uint8 with any content."""
        if self._buffers and self._buffers[0].shape != shape:
            self._buffers = []
        if not self._buffers:
            self._buffers = [np.full(shape, 0, np.uint8) for _ in range(self._ready)]
        for buffer in self._buffers:
            if sys.getrefcount(buffer) <= _UNHELD:
                return buffer
        fresh: Image = np.empty(shape, np.uint8)
        if len(self._buffers) < KEPT:
            self._buffers.append(fresh)
        return fresh

"""Image buffers that are reused when nobody holds them."""

from __future__ import annotations

import sys

import numpy as np

from orilla.runtime.preprocessing.image import Image

KEPT = 32
"""Buffers that the pool keeps. More are allocated if the caller holds more, and are freed when they are released."""

_UNHELD = 3
"""References to a buffer that only the pool holds: its list, the loop variable and the argument of `getrefcount`."""


class BufferPool:
    """Buffers of one shape at a time, for one thread.

    A buffer is reused only when no array or view refers to it. A steady stream therefore allocates nothing, and an
    image stays unchanged as long as the caller holds it.

    Args:
        ready: Number of buffers that are allocated and touched at the first use.
    """

    def __init__(self, ready: int = 0) -> None:
        self._ready = ready
        self._buffers: list[Image] = []

    def take(self, shape: tuple[int, ...]) -> Image:
        """Return a buffer `[H,W,3]` uint8 with undefined content."""
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

"""A pool of image buffers. A buffer is reused when no reference to it is left."""

from __future__ import annotations

import math
import sys

import numpy as np

from orilla.devices.memory import available_bytes
from orilla.runtime.preprocessing.image import Image

MAX_BUFFERS = 32
"""Maximum number of buffers in a pool. If the caller keeps more images, their buffers are allocated outside of the
pool."""

READY_SHARE = 0.05
"""Largest share of the available memory for buffers that are allocated at the first use. If they would need more, each
buffer is allocated when it is needed."""

_UNHELD = 3
"""Reference count of a free buffer: one in the pool's list, one in a loop variable, one in the argument of
`getrefcount`."""


def _counts_are_exact() -> bool:
    """Return True if reference counts in this Python show immediately whether a view of a buffer exists."""
    buffers = [np.zeros((1, 1, 3), np.uint8)]

    def count() -> int:
        for buffer in buffers:
            return sys.getrefcount(buffer)
        return 0

    before = count()
    view = buffers[0][:, :, 0]
    held = count()
    del view
    return (before, held, count()) == (_UNHELD, _UNHELD + 1, _UNHELD)


class BufferPool:
    """A pool of buffers of one shape, for use in one thread.

    A buffer is reused only when no array or view refers to it. A steady stream therefore allocates nothing, and an
    image stays unchanged as long as the caller keeps a reference to it.

    The pool finds free buffers by CPython's reference counts. At its first use, it tests whether they are exact. If
    they are not, every frame gets a new buffer, which is slower but safe.

    Args:
        ready: Number of buffers that are allocated and written at the first use, so that the operating system provides
            their memory. It is 0 if memory is short, see `READY_SHARE`.
    """

    def __init__(self, ready: int = 0) -> None:
        self._ready = ready
        self._buffers: list[Image] = []
        self._reuses: bool | None = None

    def take(self, shape: tuple[int, ...]) -> Image:
        """Return a buffer `[H,W,3]` uint8 with undefined content."""
        if self._reuses is None:
            self._reuses = _counts_are_exact()
        if not self._reuses:
            return np.empty(shape, np.uint8)
        if self._buffers and self._buffers[0].shape != shape:
            self._buffers = []
        if not self._buffers:
            self._buffers = [np.full(shape, 0, np.uint8) for _ in range(_affordable(self._ready, math.prod(shape)))]
        for buffer in self._buffers:
            if sys.getrefcount(buffer) <= _UNHELD:
                return buffer
        fresh: Image = np.empty(shape, np.uint8)
        if len(self._buffers) < MAX_BUFFERS:
            self._buffers.append(fresh)
        return fresh


def _affordable(count: int, size: int) -> int:
    """Return `count`, or 0 if the available memory is too small for this number of buffers of `size` bytes."""
    free = available_bytes() if count else None
    return count if free is None or count * size <= READY_SHARE * free else 0

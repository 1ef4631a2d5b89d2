"""The protocol of a source of frames, and functions that several sources use."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol, runtime_checkable

from orilla.runtime.frame import QUEUE_DEPTH, Event, Frame, Line, Record
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

READY_BUFFERS = 2 * QUEUE_DEPTH + 3
"""Number of buffers that a source allocates with its first frame: the largest number of frames in a loop. One frame is
being read, `QUEUE_DEPTH` wait for inference, one is in inference, `QUEUE_DEPTH` wait for the caller, and the caller
uses one. The loop therefore allocates its memory at the start, and not later while the machine is busy."""

SLICE_S = 0.25
"""Longest wait within `read`, in seconds. A source that has to wait longer returns an event, so that the loop can
stop."""


@runtime_checkable
class Source(Protocol):
    """Delivers frames one by one. Only one thread calls `read`."""

    live: bool
    """True for a live source (a camera), False for a recorded source (a file)."""
    rate_hz: float | None
    """Frame rate of a recorded source in frames per second. None if it has no frame rate."""

    def read(self) -> Frame | Line | Record | Event | None:
        """Return the next frame, or None at the end. If the source has something to report, return an event instead.

        Raises:
            SourceError: The source failed, and reading cannot continue.
        """

    def close(self) -> None:
        """Release the device or file."""


def now_ns() -> int:
    """Return the time in nanoseconds on the monotonic clock, which is the clock of all capture times."""
    return time.monotonic_ns()


def is_animated_webp(head: bytes) -> bool:
    """Return True if these are the first bytes of an animated WebP file.

    Source: the WebP container specification, chunk `VP8X`, flag `A`.
    """
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) > 20 and bool(head[20] & 2)


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder in the order of their names."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)

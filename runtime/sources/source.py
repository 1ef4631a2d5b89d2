"""The protocol of a source of frames, and shared functions."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol, runtime_checkable

from orilla.runtime.frame import QUEUE_DEPTH, Event, Frame, Line
from orilla.runtime.preprocessing.image_file import PICTURES

READY_BUFFERS = 2 * QUEUE_DEPTH + 3
"""Buffers that a source allocates and touches with its first frame: as many frames as a loop ever has in flight. One is
being read, `QUEUE_DEPTH` wait for inference, one is in inference, `QUEUE_DEPTH` wait for the caller, and the caller
holds one. The loop thus takes its memory at the start, not when the machine first becomes busy."""

SLICE_S = 0.25
"""Maximum wait within `read`, seconds. A longer wait returns control to the loop, so that it can be stopped."""


@runtime_checkable
class Source(Protocol):
    """Delivers frames one by one, to one thread."""

    live: bool
    """True for a live source (a camera), False for a recording."""
    rate_hz: float | None
    """Frames per second at which a recording plays. None if there is no such rate."""

    def read(self) -> Frame | Line | Event | None:
        """Return the next frame; or an event, after which reading continues; or None at the end.

        Raises:
            SourceError: The source failed permanently.
        """

    def close(self) -> None:
        """Release the device or file."""


def now_ns() -> int:
    """Return the monotonic clock that stamps frames, nanoseconds."""
    return time.monotonic_ns()


def image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder in name order."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)

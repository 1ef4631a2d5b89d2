"""The protocol of a source of frames, and what all sources share."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Protocol, runtime_checkable

from orilla.runtime.frame import QUEUE_DEPTH, Event, Frame, Line
from orilla.runtime.preprocessing.image_file import PICTURES

READY_BUFFERS = 2 * QUEUE_DEPTH + 3
"""Buffers that a source allocates and touches with its first frame: as many frames as a loop ever has in flight. One
is being read, `QUEUE_DEPTH` wait for inference, one is in inference, `QUEUE_DEPTH` wait for the caller, and the caller
holds one. The loop takes its memory when it starts, not when the machine is busy for the first time."""

SLICE_S = 0.25
"""A wait of a source is given back to the loop in pieces, so that it can be stopped meanwhile."""


@runtime_checkable
class Source(Protocol):
    """Gives frames one by one, to one thread."""

    live: bool
    """True for a live source (a camera), False for a recording."""
    rate_hz: float | None
    """Frames per second by which a recording should be played; None where there is no such rate."""

    def read(self) -> Frame | Line | Event | None:
        """The next frame; or what happened instead, after which reading goes on; or None at the end.

        Raises:
            SourceError: it breaks off for good.
        """

    def close(self) -> None:
        """Frees the device or file."""


def now_ns() -> int:
    """The clock that stamps frames: monotonic, nanoseconds."""
    return time.monotonic_ns()


def picture_files(folder: Path) -> list[Path]:
    """The pictures in a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)

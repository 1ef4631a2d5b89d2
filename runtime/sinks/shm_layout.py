"""The layout of the shared-memory segment that the sink `shm` writes. `docs/sinks.md` describes it for other programs.

All numbers are little-endian. The header is followed by the slots. Each slot has a header, then the JSON document, then
the image, if there is one.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

FOLDER = Path("/dev/shm")
"""Folder in which Linux shows shared-memory segments as files."""

MAGIC, VERSION = b"ORILLASM", 1

HEADER = struct.Struct("<8sIIQQII")
"""Format of the segment's header. Its fields are those of `Header`."""

SLOT = struct.Struct("<QQqqIIII")
"""Format of a slot's header. Its fields are those of `Slot`."""

HEADER_BYTES = SLOT_BYTES = 64
"""Number of bytes from the start of the segment to the first slot, and from the start of a slot to its JSON
document."""

WRITTEN_AT, STATE_AT = 24, 32
"""Offsets in bytes of `written` and `state` in the header."""

OPEN, REPLACED, CLOSED = 0, 1, 2
"""Values of `state`: the loop runs, a larger segment with the same name has replaced this one, or the loop has
ended."""


class Header(NamedTuple):
    """The header of the segment."""

    magic: bytes
    version: int
    slots: int
    """Number of slots."""
    slot_size: int
    """Number of bytes of a slot."""
    written: int
    """Number of ticks that were written. Tick `n`, counted from 1, is in slot `(n - 1) % slots`."""
    state: int
    pid: int
    """ID of the writing process."""


class Slot(NamedTuple):
    """The header of a slot.

    The writer sets `begin`, writes everything else, and then sets `end`. A reader reads `end`, then everything else,
    then `begin`. If `begin` and `end` are equal, nothing was written in between.
    """

    begin: int
    end: int
    captured_ns: int
    """Capture time on the monotonic clock, in nanoseconds."""
    captured_wall_ns: int
    """Capture time in nanoseconds since 1970."""
    json_bytes: int
    """Number of bytes of the JSON document in UTF-8."""
    image_at: int
    """Offset in bytes from the start of the slot to the image `[H,W,3]` uint8 BGR."""
    height: int
    """Height of the image in pixels. 0 if there is no image."""
    width: int
    """Width of the image in pixels."""

"""Recognise image files that are shorter than their content states."""

from __future__ import annotations

import struct
from collections.abc import Callable

from orilla.runtime.preprocessing import jpeg, pnm
from orilla.runtime.preprocessing.image_orientation import boxes
from orilla.runtime.preprocessing.tiff_tags import STRIP_OFFSETS, STRIP_SIZES, TILE_OFFSETS, TILE_SIZES, Tags


def is_truncated(data: bytes, name: str) -> bool:
    """Return True if a file of the format `name` is shorter than its content states."""
    try:
        return name in TESTS and TESTS[name](data)
    except struct.error:
        return True


def _in_boxes(data: bytes) -> bool:
    ends = [end for _, _, end in boxes(data, 0, len(data))]
    return not ends or ends[-1] != len(data)


def _tiff(data: bytes) -> bool:
    tags = Tags(data)
    starts = (*tags.values(STRIP_OFFSETS), *tags.values(TILE_OFFSETS))
    parts = zip(starts, (*tags.values(STRIP_SIZES), *tags.values(TILE_SIZES)), strict=False)
    return max((start + size for start, size in parts), default=len(data) + 1) > len(data)


TESTS: dict[str, Callable[[bytes], bool]] = {
    "JPEG": lambda data: jpeg.end_of(data) is None,
    "PNG": lambda data: b"IEND" not in data,
    "GIF": lambda data: not data.rstrip(b"\0").endswith(b";"),
    "WebP": lambda data: len(data) < 8 + int.from_bytes(data[4:8], "little"),
    "BMP": lambda data: len(data) < int.from_bytes(data[2:6], "little"),
    # A codestream has the same end marker as a JPEG.
    "JPEG 2000": lambda data: not data.rstrip(b"\0").endswith(jpeg.EOI),
    "PNM": pnm.is_truncated,
    "AVIF": _in_boxes,
    "TIFF": _tiff,
}
"""Function that returns True for a truncated file, by format."""

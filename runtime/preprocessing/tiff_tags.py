"""Read and change the tags of a TIFF file. EXIF data has the same structure.

Source: Adobe, "TIFF Revision 6.0" (1992), section 2.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

WIDTH, HEIGHT, BITS, COMPRESSION, STRIP_OFFSETS, STRIP_SIZES = 256, 257, 258, 259, 273, 279
SUBFILE, MAKE, ORIENTATION, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 254, 271, 274, 338, 339, 50706
"""Numbers of tags. Source: TIFF 6.0, section 8; Adobe, "Digital Negative (DNG) Specification" for the last one."""

FORMATS = {1: ("B", 1), 2: ("s", 1), 3: ("H", 2), 4: ("I", 4)}
"""For each type that `values` reads, the format character of `struct` and the size in bytes: bytes, text, and integers
of 2 and 4 bytes."""

MAX_TAGS = 4096
"""Maximum number of tags that are read. A damaged file may state any number."""

MAX_VALUES = 65536
"""Maximum number of values that are read from a tag."""


class Tag(NamedTuple):
    """One tag of the first image."""

    type: int
    length: int
    """Number of values."""
    at: int
    """Position of the values in the file."""


class Tags:
    """The tags of the first image in TIFF or EXIF data. A damaged part is treated as missing.

    Args:
        data: The content of a TIFF file, or EXIF data from its byte order on.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4], "")
        self._tags = dict(self._read()) if self._order and len(data) >= 8 else {}

    def __contains__(self, number: int) -> bool:
        return number in self._tags

    def values(self, number: int) -> tuple[int, ...]:
        """Return the numbers of a tag, or an empty tuple if the tag is missing or damaged."""
        tag = self._tags.get(number)
        if tag is None or tag.type not in (1, 3, 4) or tag.length > MAX_VALUES:
            return ()
        try:
            return struct.unpack_from(f"{self._order}{tag.length}{FORMATS[tag.type][0]}", self._data, tag.at)
        except struct.error:
            return ()

    def first(self, number: int, default: int = 0) -> int:
        """Return the first number of a tag, or `default` if the tag is missing or damaged."""
        return next(iter(self.values(number)), default)

    def text(self, number: int) -> str:
        """Return the text of a tag, or an empty string if the tag is missing or damaged."""
        tag = self._tags.get(number)
        if tag is None or tag.type != 2:
            return ""
        return self._data[tag.at : tag.at + tag.length].split(b"\0")[0].decode("ascii", "replace").strip()

    def replaced(self, number: int, value: int) -> bytes:
        """Return the data with a new value for a tag that has a single 2-byte number. Other tags are not changed."""
        tag = self._tags.get(number)
        if tag is None or tag.type != 3 or tag.length != 1:
            return self._data
        changed = bytearray(self._data)
        struct.pack_into(f"{self._order}H", changed, tag.at, value)
        return bytes(changed)

    def _read(self) -> list[tuple[int, Tag]]:
        data, order = self._data, self._order
        found: list[tuple[int, Tag]] = []
        try:
            (start,) = struct.unpack_from(f"{order}I", data, 4)
            (count,) = struct.unpack_from(f"{order}H", data, start)
            for place in range(start + 2, start + 2 + 12 * min(count, MAX_TAGS), 12):
                number, kind, length = struct.unpack_from(f"{order}HHI", data, place)
                # Values of up to 4 bytes are stored here. For longer values, their position is stored here.
                at = place + 8
                if length * FORMATS.get(kind, ("", 8))[1] > 4:
                    (at,) = struct.unpack_from(f"{order}I", data, place + 8)
                found.append((number, Tag(kind, length, at)))
        except struct.error:
            pass
        return found

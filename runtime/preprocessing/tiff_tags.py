"""Read and change the tags of a TIFF file. EXIF data has the same structure.

Source: Adobe, "TIFF Revision 6.0" (1992), section 2. A BigTIFF has longer numbers; source: libtiff, "BigTIFF Design".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

WIDTH, HEIGHT, BITS, COMPRESSION, STRIP_OFFSETS, STRIP_SIZES = 256, 257, 258, 259, 273, 279
SAMPLES, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 277, 322, 323, 324, 325
SUBFILE, MAKE, ORIENTATION, EXTRA_SAMPLES, SAMPLE_FORMAT, DNG_VERSION = 254, 271, 274, 338, 339, 50706
"""Numbers of tags. Source: TIFF 6.0, section 8; for the last tag, Adobe, "Digital Negative (DNG) Specification"."""

FORMATS = {1: ("B", 1), 2: ("s", 1), 3: ("H", 2), 4: ("I", 4), 16: ("Q", 8)}
"""For each type that `values` reads, the format character of `struct` and the size in bytes: bytes, text, and integers
of 2, 4 and 8 bytes."""


class _Layout(NamedTuple):
    """Formats of `struct` for the numbers in a file, with their byte order."""

    start: str
    """Position of the first image, after the first bytes of the file."""
    tags: str
    """Number of tags."""
    tag: str
    """Number, type and length of a tag."""
    place: str
    """Position of the values in the file, or the values themselves if they fit into the same number of bytes."""


LAYOUTS = {
    start: _Layout(*(order + text for text in texts))
    for order, starts in (("<", (b"II*\0", b"II+\0")), (">", (b"MM\0*", b"MM\0+")))
    for start, texts in zip(starts, (("4xI", "H", "HHI", "I"), ("8xQ", "Q", "HHQ", "Q")), strict=True)
}
"""Layout of a file by its first bytes: TIFF and BigTIFF, with the lowest or the highest byte first."""

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
        self._layout = LAYOUTS.get(data[:4])
        self._order = "" if self._layout is None else self._layout.start[0]
        self._tags = {} if self._layout is None else dict(self._read(self._layout))

    def __contains__(self, number: int) -> bool:
        return number in self._tags

    def values(self, number: int) -> tuple[int, ...]:
        """Return the numbers of a tag, or an empty tuple if the tag is missing or damaged."""
        tag = self._tags.get(number)
        if tag is None or tag.type not in (1, 3, 4, 16) or tag.length > MAX_VALUES:
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

    def _read(self, layout: _Layout) -> list[tuple[int, Tag]]:
        data, found = self._data, []
        head, place_size = struct.calcsize(layout.tag), struct.calcsize(layout.place)
        try:
            (start,) = struct.unpack_from(layout.start, data)
            (count,) = struct.unpack_from(layout.tags, data, start)
            first, step = start + struct.calcsize(layout.tags), head + place_size
            for place in range(first, first + step * min(count, MAX_TAGS), step):
                number, kind, length = struct.unpack_from(layout.tag, data, place)
                at = place + head
                if length * FORMATS.get(kind, ("", 8))[1] > place_size:
                    (at,) = struct.unpack_from(layout.place, data, at)
                found.append((number, Tag(kind, length, at)))
        except struct.error:
            pass
        return found

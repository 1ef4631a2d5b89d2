"""The structure of a JPEG file: its segments and its end. Source: ITU-T T.81, B.1.1."""

from __future__ import annotations

import re
from collections.abc import Iterator

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
"""Markers at the start and at the end of a JPEG."""

SCAN = 0xDA
"""Code of the marker before the pixel data."""

RESTARTS = range(0xD0, 0xD8)
"""Codes of the restart markers, which divide the pixel data."""

ALONE = (0x01, *RESTARTS)
"""Codes of the markers that no segment follows. Source: ITU-T T.81, table B.1."""

PROGRESSIVE = 0xC2
"""Code of the marker of a progressive image, which is stored in several passes from coarse to fine."""

FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Codes of the markers that begin with the size of the image. Source: ITU-T T.81, table B.1."""

UNDECODED = {
    **dict.fromkeys((0xC3, 0xC7, 0xCB, 0xCF), "a lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xCD, 0xCE), "a hierarchical JPEG"),
    0xF7: "JPEG-LS",
}
"""Kinds of JPEG that OpenCV does not decode, by the code of the marker that begins with the size. Source: ITU-T T.81,
table B.1, and T.87, C.1.1, for JPEG-LS."""

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Pattern of a marker that ends the pixel data. It does not match stuffed bytes and restart markers, which are part
of the data. Source: ITU-T T.81, B.1.1.5."""


def segments(data: bytes | bytearray) -> Iterator[tuple[int, int, int]]:
    """Yield the code of each segment's marker, and the start and end of its content.

    The last item is the end marker, unless the file lacks it. Segments are skipped by their length, because a segment
    may contain a thumbnail, which is a JPEG with its own end.
    """
    if not data.startswith(SOI):
        return
    position = 2
    while len(data) >= position + 4 or data[position : position + 2] == EOI:
        code = data[position + 1]
        if data[position] != 0xFF or code in (0, SOI[1]):
            return
        if code == 0xFF or code in ALONE:  # Any number of fill bytes 0xFF may precede a marker.
            position += 1 if code == 0xFF else 2
            continue
        if code == EOI[1]:
            yield code, position + 2, position + 2
            return
        start, end = position + 4, position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        yield code, start, end
        position = end
        if code == SCAN:
            after_pixels = MARKER.search(data, position)
            if after_pixels is None:
                return
            position = after_pixels.start()


def end_of(data: bytes | bytearray) -> int | None:
    """Return the position after the JPEG at the start of `data`, or None if its end is missing or it is not a JPEG."""
    return next((end for code, _, end in segments(data) if code == EOI[1]), None)


def undecoded_kind(data: bytes) -> str | None:
    """Return the kind of a JPEG that OpenCV does not decode, or None for other files."""
    for code, start, _ in segments(data):
        if code in UNDECODED:
            return UNDECODED[code]
        if code in FRAMES and data[start : start + 1] not in (b"", b"\x08"):
            return f"a JPEG with {data[start]} bits per sample"
    return None


def size_of(data: bytes) -> tuple[int, int]:
    """Return the width and height of a JPEG, or zeros if the data ends before they are stated."""
    for code, start, _ in segments(data):
        if code in FRAMES and len(data) >= start + 5:
            return int.from_bytes(data[start + 3 : start + 5], "big"), int.from_bytes(
                data[start + 1 : start + 3], "big"
            )
    return 0, 0

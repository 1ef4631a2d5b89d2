"""Read and apply the orientation that a camera stores with an image: its rotation, and whether it is mirrored.

The orientation is read here and not by OpenCV, because each version of OpenCV supports it for different formats.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.preprocessing import jpeg
from orilla.runtime.preprocessing.tiff_tags import LAYOUTS, ORIENTATION, Tags

UPRIGHT = 1
"""Value of the normal orientation: the first row is the top, and the first column is the left side."""

TURNS: dict[int, tuple[bool, int | None]] = {
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
"""For each orientation, whether the image is transposed, and the argument of the `cv2.flip` that follows.
Source: CIPA DC-008, "Exchangeable image file format", tag Orientation."""

HEIF_TURNS: dict[tuple[int, int | None], int] = {
    **{(0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6},
    **{(0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7},
    **{(0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5},
}
"""Orientation by the number of anticlockwise quarter turns (box `irot`) and the mirroring (box `imir`: 0 exchanges top
and bottom, 1 exchanges left and right). Source: ISO/IEC 23008-12, 6.5.10 and 6.5.12."""

EXIF = b"Exif\0\0"
"""Start of EXIF data in a JPEG. Some programs also write it in other formats."""

MAX_EXIF = 1 << 20
"""Maximum size in bytes of EXIF data after decompression."""


def orientation_of(data: bytes) -> int:
    """Return the orientation of an image file, 1–8. It is 1 if the file states none, or if the metadata is damaged.

    Args:
        data: Content of a JPEG, PNG, WebP, TIFF, AVIF or other file.
    """
    try:
        if data[4:8] == b"ftyp":
            return _in_heif(data)
        exif = _exif(data)
    except (struct.error, zlib.error, ValueError, IndexError):
        return UPRIGHT
    orientation = Tags(exif.removeprefix(EXIF)).first(ORIENTATION, UPRIGHT)
    return orientation if orientation in TURNS else UPRIGHT


def turned(image: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Rotate and mirror an image for display.

    Args:
        image: The image as it is stored, `[H,W]` or `[H,W,C]`.
        orientation: The orientation of the file, as `orientation_of` returns it.
    """
    if orientation not in TURNS:
        return image
    swap, flip = TURNS[orientation]
    result = cv2.transpose(image) if swap else image
    return result if flip is None else cv2.flip(result, flip)


def _exif(data: bytes) -> bytes:
    """Return the EXIF data in an image file, or empty bytes."""
    if data.startswith(jpeg.SOI):
        for code, start, end in jpeg.segments(data):
            if code == jpeg.SCAN:
                break
            if code == 0xE1 and data[start:end].startswith(EXIF):
                return data[start:end]
    elif data.startswith(b"\x89PNG"):
        return _in_png(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return next((data[start:end] for name, start, end in _riff(data) if name == b"EXIF"), b"")
    elif data[:4] in LAYOUTS:
        return data
    return b""


def _in_png(data: bytes) -> bytes:
    """Return the EXIF data in a PNG: the chunk `eXIf`, or the text in which ImageMagick stores it."""
    position = 8
    while position + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + size]
        if name == b"eXIf":
            return content
        if name in (b"tEXt", b"zTXt") and content.startswith(b"Raw profile type"):
            keyword, _, text = content.partition(b"\0")
            if keyword.lower().endswith((b" exif", b" app1")):
                return _of_text(zlib.decompressobj().decompress(text[1:], MAX_EXIF) if name == b"zTXt" else text)
        position += 12 + size
    return b""


def _of_text(text: bytes) -> bytes:
    """Return the bytes in a text that consists of a name, a size, and the bytes as hexadecimal digits."""
    match = re.match(rb"\s*\w+\s+\d+\s+([0-9a-fA-F\s]+)", text[:MAX_EXIF])
    return bytes.fromhex("".join(match[1].decode().split())) if match else b""


def _riff(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk of a WebP file, and the start and end of its content."""
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        yield name, position + 8, position + 8 + size
        position += 8 + size + size % 2


def boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each box of an AVIF or HEIC file between two positions, and the start and end of its content.

    Source: ISO/IEC 14496-12, 4.2.
    """
    while start + 8 <= stop:
        size, name = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", data, start + 8), 16
        end = stop if size == 0 else start + size
        if end < start + header:
            return
        yield name, start + header, end
        start = end


def _in_heif(data: bytes) -> int:
    """Return the orientation of the primary item of an AVIF or HEIC file. Its EXIF data is not used.

    Source: ISO/IEC 23000-22 (MIAF), 7.3.6.7.
    """
    meta = next(((start + 4, end) for name, start, end in boxes(data, 0, len(data)) if name == b"meta"), None)
    if meta is None:
        return UPRIGHT
    inside = {name: (start, end) for name, start, end in boxes(data, *meta)}
    if not {b"pitm", b"iprp"} <= inside.keys():
        return UPRIGHT
    wide = data[inside[b"pitm"][0]] > 0
    primary: int = struct.unpack_from(">I" if wide else ">H", data, inside[b"pitm"][0] + 4)[0]
    of_items = {name: (start, end) for name, start, end in boxes(data, *inside[b"iprp"])}
    properties = list(boxes(data, *of_items[b"ipco"])) if b"ipco" in of_items else []
    turns = 0
    mirror: int | None = None
    for index in _associated(data, of_items[b"ipma"][0], primary) if b"ipma" in of_items else ():
        if 1 <= index <= len(properties):
            name, start, _ = properties[index - 1]
            turns = data[start] & 3 if name == b"irot" else turns
            mirror = data[start] & 1 if name == b"imir" else mirror
    return HEIF_TURNS[turns, mirror]


def _associated(data: bytes, start: int, item: int) -> list[int]:
    """Return the numbers of the properties of an item, from the box `ipma` whose content begins at `start`."""
    version, flags = data[start], data[start + 3]
    number, size = (">I", 4) if version else (">H", 2)
    entry, entry_size, mask = (">H", 2, 0x7FFF) if flags & 1 else (">B", 1, 0x7F)
    (count,) = struct.unpack_from(">I", data, start + 4)
    position = start + 8
    for _ in range(count):
        (found,) = struct.unpack_from(number, data, position)
        first = position + size + 1
        position = first + entry_size * data[first - 1]
        if found == item:
            return [value & mask for (value,) in struct.iter_unpack(entry, data[first:position])]
    return []

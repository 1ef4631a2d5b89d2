"""Reorder the channels of BMP images. OpenCV ignores the masks that follow a short header."""

from __future__ import annotations

import struct

import numpy as np

START = b"BM"

SHORT_HEADERS = (40, 52)
"""Sizes of headers whose masks OpenCV ignores. Source: `BITMAPINFOHEADER`, and its version with masks for RGB."""

BIT_FIELDS, MASKS_AT = 3, 54
"""Compression of a BMP with masks, and their position in the file."""

BYTES = {0xFF: 0, 0xFF00: 1, 0xFF0000: 2, 0xFF000000: 3}
"""Position in a pixel of the byte that a mask selects."""

BGR_MASKS = (0xFF0000, 0xFF00, 0xFF)
"""Masks of red, green and blue of the pixels that OpenCV reads."""


def in_bgr_order(data: bytes) -> bytes:
    """Return a BMP file whose pixels of 32 bits are BGR. Other files, and damaged ones, are returned unchanged."""
    try:
        (start,), (header,), (bits, compression) = (
            struct.unpack_from(form, data, at) for form, at in (("<I", 10), ("<I", 14), ("<HI", 28))
        )
        masks = struct.unpack_from("<3I", data, MASKS_AT)
    except struct.error:
        return data
    if (bits, compression) != (32, BIT_FIELDS) or header not in SHORT_HEADERS or masks == BGR_MASKS:
        return data
    places = [BYTES[mask] for mask in reversed(masks) if mask in BYTES]
    end = start + (len(data) - start) // 4 * 4
    if len(places) < len(masks) or not MASKS_AT + 12 <= start < end:
        return data
    pixels = np.frombuffer(data[start:end], np.uint8).reshape(-1, 4)
    ordered = np.zeros_like(pixels)
    ordered[:, :3] = pixels[:, places]
    return (
        data[:MASKS_AT] + struct.pack("<3I", *BGR_MASKS) + data[MASKS_AT + 12 : start] + ordered.tobytes() + data[end:]
    )

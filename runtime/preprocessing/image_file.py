"""Picture files: from bytes to pixels, whatever the bytes are."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.stdio import hidden_stderr

PICTURES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif"),
    *(".ppm", ".pgm", ".heic", ".heif"),
)
"""Suffixes of what is taken for a picture in a folder; HEIC so that it is told, not passed over."""


def decode_picture(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8] | None:
    """Decodes a picture file; None where it is none, is damaged or is too large for OpenCV."""
    if not data:
        return None
    try:
        picture: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return picture


def is_heic(data: bytes) -> bool:
    """Whether it is a telephone's HEIC, by the brands in its first box, whatever the file is called: OpenCV has no
    decoder of it.

    Source: ISO/IEC 23008-12, brands `heic` and `heix`.
    """
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return data[4:8] == b"ftyp" and (b"heic" in brands or b"heix" in brands)


def why_undecoded(data: bytes) -> str:
    """What to say of a file that `decode_picture` gives no picture of."""
    if not data:
        return "the file is empty"
    return "HEIC is not read, convert it to JPEG" if is_heic(data) else "not a picture, or damaged"


def decode_quietly(data: bytes) -> NDArray[np.uint8] | None:
    """Decodes a picture file, without what the codecs say of a damaged one on standard error.

    The process's standard error is touched only where the file does not look whole: other threads write there too.
    """
    stripped = data.rstrip(b"\0\r\n ")
    jpeg = data.startswith(b"\xff\xd8") and stripped.endswith(b"\xff\xd9")
    png = data.startswith(b"\x89PNG") and stripped.endswith(b"IEND\xaeB`\x82")
    if jpeg or png:
        return decode_picture(data)
    with hidden_stderr():
        return decode_picture(data)


def as_bgr(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A picture as `[H,W,3]` uint8 BGR: the same array where it is one already.

    Args:
        picture: `[H,W]` or `[H,W,1]` grey, `[H,W,3]` BGR or `[H,W,4]` BGRA; uint8, or uint16 of which the upper byte
            is taken.

    Raises:
        DataError: anything else, or no pixels.
    """
    if not isinstance(picture, np.ndarray) or picture.dtype not in (np.uint8, np.uint16) or picture.ndim not in (2, 3):
        found = f"{list(picture.shape)} {picture.dtype}" if isinstance(picture, np.ndarray) else type(picture).__name__
        msg = f"expected a picture [H,W,3] uint8, got {found}"
        raise DataError(msg)
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    if picture.size == 0 or channels not in (1, 3, 4):
        msg = f"expected a picture [H,W,3] uint8 with pixels, got {list(picture.shape)}"
        raise DataError(msg)
    if picture.dtype == np.uint16:
        picture = (picture >> 8).astype(np.uint8)
    if channels == 3:
        return picture
    code = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    converted: NDArray[np.uint8] = cv2.cvtColor(picture, code)
    return converted

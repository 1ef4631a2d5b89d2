"""Functions that decode image files and convert images to BGR."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.runtime.stdio import hidden_stderr

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".avif"),
    *(".ppm", ".pgm", ".heic", ".heif"),
)
"""Suffixes of image files in a folder. HEIC files are included so that they are reported instead of ignored."""


def decode_image(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8] | None:
    """Decode an image file. Return None if it is not an image, is damaged, or is too large for OpenCV."""
    if not data:
        return None
    try:
        image: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return image


def is_heic(data: bytes) -> bool:
    """Return True for a HEIC file. Phones write such files, but OpenCV cannot decode them.

    Source: ISO/IEC 23008-12. The first box of the file contains the brand `heic` or `heix`.
    """
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return data[4:8] == b"ftyp" and (b"heic" in brands or b"heix" in brands)


def why_undecoded(data: bytes) -> str:
    """Return the reason why `decode_image` could not decode a file."""
    if not data:
        return "the file is empty"
    return "HEIC is not supported; convert it to JPEG" if is_heic(data) else "not an image, or damaged"


def decode_quietly(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an image file without messages of the codecs on standard error.

    Standard error is redirected only for a file that looks damaged, because other threads may write to it meanwhile.
    """
    stripped = data.rstrip(b"\0\r\n ")
    jpeg = data.startswith(b"\xff\xd8") and stripped.endswith(b"\xff\xd9")
    png = data.startswith(b"\x89PNG") and stripped.endswith(b"IEND\xaeB`\x82")
    if jpeg or png:
        return decode_image(data)
    with hidden_stderr():
        return decode_image(data)


def as_bgr(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return an image as `[H,W,3]` uint8 BGR. An image of this form is returned unchanged.

    Args:
        image: Grey `[H,W]` or `[H,W,1]`, BGR `[H,W,3]` or BGRA `[H,W,4]`, as uint8 or uint16. For uint16, the upper
            byte is used.

    Raises:
        DataError: The array has none of these shapes and types, or no pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16) or image.ndim not in (2, 3):
        got = f"{list(image.shape)} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        msg = f"expected an image [H,W,3] uint8, got {got}"
        raise DataError(msg)
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.size == 0 or channels not in (1, 3, 4):
        msg = f"expected an image [H,W,3] uint8 with pixels, got shape {list(image.shape)}"
        raise DataError(msg)
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    if channels == 3:
        return image
    code = cv2.COLOR_GRAY2BGR if channels == 1 else cv2.COLOR_BGRA2BGR
    converted: NDArray[np.uint8] = cv2.cvtColor(image, code)
    return converted

"""Decode PBM, PGM, PPM and PAM images. OpenCV does not scale their values to the range of 8 bits.

Source: the manuals `pbm`, `pgm`, `ppm` and `pam` of Netpbm.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

HEADER = re.compile(rb"P([1-6])" + 3 * rb"(?:(?:\s|#[^\n]*\n)+(\d{1,7}))?")
"""Pattern of the header of a PBM, PGM or PPM: its kind, width, height and maximum value. A PBM has no maximum value."""

PAM_HEADER = re.compile(rb"P7\s*\n(?:[^\n]*\n){1,64}?ENDHDR[ \t\r]*\n")
PAM_FIELD = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)\s+(\d{1,7})\s*$", re.MULTILINE)

COMMENT = re.compile(rb"#[^\n]*")

MAX_VALUE = 65535


class Header(NamedTuple):
    """The header of a file."""

    kind: int
    """Digit in the first two bytes: 1–3 for values as text, 4–6 for bytes, 7 for a PAM."""
    width: int
    height: int
    channels: int
    """Number of channels: 1 or 2 for grey, 3 or 4 for colours; the last one of 2 or 4 channels is alpha."""
    maximum: int
    """Value of white."""
    size: int
    """Number of bytes before the pixels."""


def header_of(data: bytes) -> Header | None:
    """Return the header of a file, or None if it is damaged."""
    if (pam := PAM_HEADER.match(data)) is not None:
        stated = {name: int(number) for name, number in PAM_FIELD.findall(pam[0])}
        numbers = [stated.get(name, 0) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")]
        header = Header(7, numbers[0], numbers[1], numbers[2], numbers[3], pam.end())
    elif (found := HEADER.match(data)) is not None:
        kind = int(found[1])
        is_bitmap = kind in (1, 4)
        last = 3 if is_bitmap else 4
        if found[last] is None:
            return None
        maximum = 1 if is_bitmap else int(found[last])
        # Skip the white space character after the header. The pixels follow it.
        header = Header(kind, int(found[2]), int(found[3]), 3 if kind in (3, 6) else 1, maximum, found.end(last) + 1)
    else:
        return None
    is_valid = header.width and header.height and header.channels in (1, 2, 3, 4) and 0 < header.maximum <= MAX_VALUE
    return header if is_valid else None


def is_truncated(data: bytes) -> bool:
    """Return True if a file with a valid header ends before its last pixel."""
    header = header_of(data)
    return header is not None and _values(data, header) is None


def decode(data: bytes, flags: int) -> NDArray[Any] | None:
    """Decode a file.

    Args:
        data: Content of the file.
        flags: A flag of `cv2.imdecode`. If it is `IMREAD_UNCHANGED`, the values are those in the file, but the pixels
            of a PBM are 0 or 255.

    Returns:
        The image, BGR or grey, or None if the file is damaged or truncated.
    """
    header = header_of(data)
    values = None if header is None else _values(data, header)
    if header is None or values is None:
        return None
    image = values.reshape(header.height, header.width, header.channels)
    if header.kind in (1, 4):
        image = (1 - image) * np.uint8(255)  # 1 is black.
    elif flags != cv2.IMREAD_UNCHANGED and header.maximum != 255:
        scaled = (image.astype(np.uint32) * 255 + header.maximum // 2) // header.maximum
        image = np.minimum(scaled, 255).astype(np.uint8)
    if header.channels <= 2:
        grey = np.ascontiguousarray(image[..., 0])
        return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR) if flags == cv2.IMREAD_COLOR else grey
    bgr = np.ascontiguousarray(image[..., 2::-1])
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY) if flags == cv2.IMREAD_GRAYSCALE else bgr


def _values(data: bytes, header: Header) -> NDArray[Any] | None:
    """Return all pixel values as one row of uint8 or uint16, or None if some are missing or are not numbers."""
    count = math.prod(header[1:4])
    if header.kind == 1:
        digits = np.frombuffer(COMMENT.sub(b"", data[header.size :]), np.uint8)
        values: NDArray[Any] = digits[(digits == ord("0")) | (digits == ord("1"))] - np.uint8(ord("0"))
    elif header.kind <= 3:
        try:
            numbers = np.array(COMMENT.sub(b"", data[header.size :]).split()[:count], dtype="S8").astype(np.int64)
        except ValueError:
            return None
        values = np.clip(numbers, 0, header.maximum).astype(np.uint8 if header.maximum < 256 else np.uint16)
    elif header.kind == 4:
        row = (header.width + 7) // 8
        pixels = np.frombuffer(data, np.uint8, offset=min(header.size, len(data)))[: row * header.height]
        if len(pixels) < row * header.height:
            return None
        values = np.unpackbits(pixels.reshape(header.height, row), axis=1)[:, : header.width].ravel()
    else:
        stored = np.dtype(np.uint8 if header.maximum < 256 else ">u2")
        pixels = np.frombuffer(data[header.size : header.size + count * stored.itemsize], np.uint8)
        whole = len(pixels) // stored.itemsize * stored.itemsize
        values = pixels[:whole].view(stored).astype(stored.newbyteorder("="))
    return values[:count] if len(values) >= count else None

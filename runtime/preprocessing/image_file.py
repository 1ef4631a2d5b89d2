"""Functions that decode image files and convert images to BGR."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors, read_file
from orilla.runtime.preprocessing import bmp, jpeg, pnm
from orilla.runtime.preprocessing.image_format import DECODED, TIFF_STARTS, unsupported, why_undecoded
from orilla.runtime.preprocessing.image_orientation import UPRIGHT, orientation_of, turned
from orilla.runtime.preprocessing.jpeg_damage import decoded_undamaged
from orilla.runtime.preprocessing.tiff_tags import EXTRA_SAMPLES, ORIENTATION, Tags
from orilla.runtime.stdio import hidden_stderr

READ_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".bmp", ".dib", ".webp", ".gif", ".tif", ".tiff"),
    *(".avif", ".jp2", ".j2k", ".jpx", ".j2c", ".ppm", ".pgm", ".pbm", ".pnm", ".pam"),
)
"""Suffixes of image files that are decoded."""

IMAGE_SUFFIXES = (
    *READ_SUFFIXES,
    *(".heic", ".heif", ".jxl", ".psd", ".svg", ".tga", ".sgi", ".exr", ".qoi", ".pcx", ".pfm"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"),
)
"""Suffixes of image files in a folder. Formats that cannot be decoded are included, because such files must be reported
instead of ignored."""

MAX_IMAGE_BYTES = 1 << 30
"""Maximum size of an image file in bytes."""

TAILS = tuple(
    tail + b"".join(bytes((0xFF, restart)) + tail for restart in jpeg.RESTARTS) for tail in (b"\x55" * 64, b"\xaa" * 64)
)
"""Bytes that are appended to a JPEG without an end marker, to find out whether its pixels are complete. They contain
all restart markers, because the decoder ignores bytes before the marker that it expects."""

MAX_ZEROS = 2
"""Maximum number of zeros at the end of the pixel data of a JPEG without an end marker."""

MISSING = 128
"""Value of all channels of pixels that are missing in a JPEG. Source: libjpeg-turbo's `jdhuff.c`, which sets their
coefficients to zero."""


class File(Protocol):
    """A file in a folder or in a zip."""

    def read_bytes(self) -> bytes:
        """Return the content."""


def decode_image(data: bytes, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8] | None:
    """Decode an image file, and rotate the image as its metadata states.

    Alpha is removed without being applied, 16-bit images are reduced to their upper 8 bits, CMYK is converted without a
    colour profile, and the first image of an animation is returned.

    Args:
        data: Content of the file. Its format is recognised by the content, not by the suffix.
        flags: A flag of `cv2.imdecode`: colour, grey or unchanged.

    Returns:
        The image, or None if the file is not an image, is damaged or truncated, or is too large for OpenCV. See
        `why_undecoded`.
    """
    if not data or unsupported(data) is not None:
        return None
    orientation = orientation_of(data)
    image: NDArray[np.uint8] | None
    if data.startswith(jpeg.SOI):
        image = _jpeg(data, flags)
    elif data.startswith(TIFF_STARTS):
        image = _decoded(_plain_tiff(data), flags)
    elif data.startswith(DECODED["PNM"]):
        image = pnm.decode(data, flags)
    elif data.startswith(bmp.START):
        image = _decoded(bmp.in_bgr_order(data), flags)
    else:
        image = _decoded(data, flags)
    return image if image is None or orientation == UPRIGHT else np.ascontiguousarray(turned(image, orientation))


def read_image(path: Path | File) -> NDArray[np.uint8]:
    """Read and decode an image file, `[H,W,3]` uint8 BGR. Raise `DataError` if this is impossible."""
    with only_our_errors(path):
        data = read_file(path, MAX_IMAGE_BYTES) if isinstance(path, Path) else path.read_bytes()
    image = decode_quietly(data)
    if image is None:
        msg = f"cannot decode {path}: {why_undecoded(data)}"
        raise DataError(msg)
    return image


def decode_quietly(data: bytes) -> NDArray[np.uint8] | None:
    """Decode an image file without messages of the codecs on standard error.

    Standard error is redirected only for a file that looks damaged, because other threads may write to it meanwhile.
    """
    jpeg_is_whole = data.startswith(jpeg.SOI) and _has_end(data)
    png = data.startswith(b"\x89PNG") and data.rstrip(b"\0\r\n ").endswith(b"IEND\xaeB`\x82")
    if jpeg_is_whole or png:
        return decode_image(data)
    with hidden_stderr():
        return decode_image(data)


def _decoded(data: bytes, flags: int) -> NDArray[np.uint8] | None:
    """Decode an image file without rotating it."""
    if flags != cv2.IMREAD_UNCHANGED:
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return image


def _has_end(data: bytes) -> bool:
    """Return True if a JPEG has its end marker. Other data may follow it."""
    return data.rstrip(b"\0\r\n ").endswith(jpeg.EOI) or jpeg.end_of(data) is not None


def _jpeg(data: bytes, flags: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG. Return None if pixels are missing or damaged, even if there is an end marker."""
    if not _has_end(data):
        return _without_end(data, flags)
    image = decoded_undamaged(data, lambda: _decoded(data, flags))
    end = jpeg.end_of(data)
    if image is None or end is None or (image[-1, -1] != MISSING).any() or _is_progressive(data):
        return image
    return _without_end(data[: end - len(jpeg.EOI)], flags)


def _is_progressive(data: bytes) -> bool:
    return any(code == jpeg.PROGRESSIVE for code, _, _ in jpeg.segments(data))


def _without_end(data: bytes, flags: int) -> NDArray[np.uint8] | None:
    """Decode a JPEG without an end marker, which some cameras omit. Return None if pixels are also missing.

    If pixels are missing, the decoder uses the bytes that follow. The pixels are therefore complete if they do not
    depend on these bytes. A progressive JPEG is always rejected, because its last passes may be missing.
    """
    if _is_progressive(data):
        return None
    # Some cameras append zeros, but the last bytes of the pixel data may also be zeros.
    pixels = data[: len(data.rstrip(b"\0")) + MAX_ZEROS]
    pixels += b"\0" * pixels.endswith(
        b"\xff"
    )  # The zero after 0xFF is a stuffed byte, which is part of the pixel data.
    first, second = (_decoded(pixels + tail + jpeg.EOI, flags) for tail in TAILS)
    return first if first is not None and second is not None and np.array_equal(first, second) else None


def _plain_tiff(data: bytes) -> bytes:
    """Return a TIFF whose image OpenCV neither rotates nor multiplies by its alpha."""
    plain = Tags(data).replaced(ORIENTATION, UPRIGHT)
    tags = Tags(plain)
    return tags.replaced(EXTRA_SAMPLES, 1) if tags.first(EXTRA_SAMPLES) == 2 else plain


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

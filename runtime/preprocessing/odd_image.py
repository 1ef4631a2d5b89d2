"""Recognise images that do not begin with a signature: images after other bytes, images as text, and TGA."""

from __future__ import annotations

import re

LEADING_BYTES = 1024
"""Maximum number of other bytes before an image that are skipped to find it."""

STARTS = {
    "JPEG": b"\xff\xd8\xff",
    "PNG": b"\x89PNG\r\n\x1a\n",
    "GIF": b"GIF8",
}
"""First bytes of the formats that are also searched for after other bytes."""

PREFIXES = (
    (re.compile(rb"\xef\xbb\xbf|\xff\xfe|\xfe\xff"), "a byte order mark"),
    (re.compile(rb"\s+"), "white space"),
    (re.compile(rb"\0+"), "zeros"),
    (re.compile(rb"(?s).*(?:Content-Type|HTTP/1).*", re.IGNORECASE), "the header of an HTTP response"),
)
"""Patterns of bytes before an image, each with a description."""

BASE64 = {"JPEG": b"/9j/", "PNG": b"iVBORw0KGgo", "GIF": b"R0lGOD", "WebP": b"UklGR"}
"""First characters of an image in base64. The keys are the file formats."""

DATA_ADDRESS = re.compile(rb"\s*data:image/([\w.+-]{1,20});base64,", re.IGNORECASE)
"""Pattern of the start of an address that contains an image in base64."""

STRIPPED = (b"\x89PNG\n\x1a\n", b"\x89PNG\r\r\n\x1a\r\n", b"\x89PNG\r\n\x1a\r\n", b"\xef\xbf\xbdPNG")
"""First bytes of PNG files that were damaged because a program converted them like text. The signature of PNG is
designed to show this damage. Source: PNG specification, section 12.12."""

TGA_FOOTER = b"TRUEVISION-XFILE.\0"
TGA_KINDS = (1, 2, 3, 9, 10, 11)
"""Kinds of TGA images in its third byte. Source: Truevision TGA file format specification 2.0."""
TGA_DEPTHS = (8, 15, 16, 24, 32)


def why_odd(data: bytes) -> str | None:
    """Describe a file whose first bytes match no known format, with advice. Return None if it is not recognised.

    Args:
        data: Content of a file that does not begin with the first bytes of a known format.
    """
    if data.startswith(STRIPPED):
        return "a PNG that was copied as a text, which damaged it; copy or download it again in binary mode"
    if (found := DATA_ADDRESS.match(data)) is not None:
        return (
            f"an address with an image ({found[1].decode().lower()}) as text in base64; decode the part after the comma"
        )
    for name, start in BASE64.items():
        if data.lstrip().startswith(start):
            return f"a {name} as text in base64; decode it with `base64 -d FILE > NEW`"
    if is_tga(data):
        return "TGA is not supported; convert it to PNG"
    return _leading(data)


def is_tga(data: bytes) -> bool:
    """Return True if a file is a TGA image, which has no signature at its start."""
    if data.endswith(TGA_FOOTER):
        return True
    if len(data) < 18 or data[1] > 1 or data[2] not in TGA_KINDS or data[16] not in TGA_DEPTHS:
        return False
    has_palette, size = data[1] == 1, (int.from_bytes(data[12:14], "little"), int.from_bytes(data[14:16], "little"))
    return all(size) and has_palette == (data[2] in (1, 9)) and (has_palette or not any(data[3:8]))


def _leading(data: bytes) -> str | None:
    """Return the format of an image that is preceded by other bytes, and how to remove them, or None."""
    places = [(place, name) for name, start in STARTS.items() if (place := data.find(start, 1, LEADING_BYTES)) > 0]
    if not places:
        return None
    place, name = min(places)
    kind = next((kind for pattern, kind in PREFIXES if pattern.fullmatch(data[:place])), "other data")
    others = "1 other byte" if place == 1 else f"{place} other bytes"
    return f"a {name} after {others} ({kind}); remove them with `tail -c +{place + 1} FILE > NEW`"

"""Recognise the format of an image file by its content, and state why a file cannot be decoded."""

from __future__ import annotations

import re
import struct
from functools import cache

import cv2

from orilla.runtime.preprocessing import jpeg, pnm
from orilla.runtime.preprocessing.image_orientation import orientation_of
from orilla.runtime.preprocessing.odd_image import why_odd
from orilla.runtime.preprocessing.tiff_tags import (
    BITS,
    DNG_VERSION,
    HEIGHT,
    LAYOUTS,
    MAKE,
    SAMPLE_FORMAT,
    SAMPLES,
    SUBFILE,
    TILE_HEIGHT,
    TILE_WIDTH,
    WIDTH,
    Tags,
)
from orilla.runtime.preprocessing.truncated_image import is_truncated

TIFF_STARTS = tuple(LAYOUTS)
"""First bytes of a TIFF or BigTIFF."""

DECODED = {
    "JPEG": (jpeg.SOI,),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "BMP": (b"BM",),
    "TIFF": TIFF_STARTS,
    "JPEG 2000": (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "PNM": (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6", b"P7"),
    "Radiance HDR": (b"#?RADIANCE", b"#?RGBE"),
    "Sun raster": (b"\x59\xa6\x6a\x95",),
}
"""First bytes of the formats that are decoded: PNM by `pnm.py`, the others by OpenCV."""

TO_JPEG, TO_PNG, DEVELOP = "convert it to JPEG", "convert it to PNG", "develop it to JPEG"

OTHERS: dict[str, tuple[tuple[bytes, ...], str]] = {
    "Photoshop (PSD)": ((b"8BPS",), TO_PNG),
    "JPEG XL": ((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"), TO_JPEG),
    "OpenEXR": ((b"\x76\x2f\x31\x01",), TO_PNG),
    "GIMP (XCF)": ((b"gimp xcf",), TO_PNG),
    "Windows icon (ICO)": ((b"\0\0\1\0",), TO_PNG),
    "Apple icon (ICNS)": ((b"icns",), TO_PNG),
    "DDS": ((b"DDS ",), TO_PNG),
    "QOI": ((b"qoif",), TO_PNG),
    "SGI": ((b"\x01\xda\0", b"\x01\xda\x01"), TO_PNG),
    "DICOM": ((b"\0" * 128 + b"DICM",), TO_PNG),
    "X bitmap (XBM)": ((b"#define ",), TO_PNG),
    "X pixmap (XPM)": ((b"/* XPM */", b"! XPM2"), TO_PNG),
    "DPX": ((b"SDPX", b"XPDS"), TO_PNG),
    "BPG": ((b"BPG\xfb",), TO_PNG),
    "KTX": ((b"\xabKTX ",), TO_PNG),
    "MNG": ((b"\x8aMNG\r\n\x1a\n",), TO_PNG),
    "Windows metafile (WMF)": ((b"\xd7\xcd\xc6\x9a",), TO_PNG),
    "HDF5": ((b"\x89HDF\r\n\x1a\n",), TO_PNG),
    "a PFM of floating-point numbers": ((b"PF\n", b"Pf\n", b"PF\r\n", b"Pf\r\n"), TO_PNG),
    "PCX": ((b"\x0a\x05\x01",), TO_PNG),
    "FITS": ((b"SIMPLE  =",), TO_PNG),
    "JPEG XR": ((b"II\xbc\x01",), TO_JPEG),
    "DjVu": ((b"AT&TFORM",), TO_PNG),
    "PDF": ((b"%PDF",), TO_PNG),
    "PostScript": ((b"%!PS",), TO_PNG),
    "camera raw (Canon CR2)": ((b"II*\0\x10\0\0\0CR",), DEVELOP),
    "camera raw (Fujifilm RAF)": ((b"FUJIFILMCCD-RAW",), DEVELOP),
    "camera raw (Olympus ORF)": ((b"IIRO", b"IIRS", b"MMOR"), DEVELOP),
    "camera raw (Panasonic RW2)": ((b"IIU\0",), DEVELOP),
    "camera raw (Sigma X3F)": ((b"FOVb",), DEVELOP),
    "camera raw (Minolta MRW)": ((b"\0MRM",), DEVELOP),
    "NumPy array (.npy)": ((b"\x93NUMPY",), TO_PNG),
    "zip": ((b"PK\3\4",), "unpack it"),
    "gzip": ((b"\x1f\x8b",), "unpack it"),
    "pointer of Git LFS": ((b"version https://git-lfs",), "run `git lfs pull`"),
}
"""First bytes of formats that OpenCV does not decode, and what to do with such a file."""

BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), "HEIC"),
    b"crx ": "camera raw (Canon CR3)",
    **dict.fromkeys((b"mif1", b"msf1"), "HEIF"),
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"qt  ", b"M4V "), "a video"),
}
"""Format of a file by the brand in its first box. The brands are compared in this order. Source: ISO/IEC 23008-12."""

AFTER = {
    **{"HEIC": TO_JPEG, "HEIF": TO_JPEG, "SVG": TO_PNG},
    **{"a video": "rename it to .mp4", "a page in HTML": "download the image itself"},
}
"""Advice for files in certain formats that OpenCV does not decode. The remaining formats are camera raw files."""

DAMAGE = {
    "JPEG": ": part of its pixel data is missing or was overwritten; copy or download it again",
    "JPEG 2000": ", or of a kind that OpenCV cannot decode; convert it to PNG",
}
"""Details of the message for a damaged file, by format."""

MAX_PIXELS, MAX_LENGTH = 1 << 30, 1 << 20
"""Maximum number of pixels, and maximum height and width, of an image. Source: `CV_IO_MAX_IMAGE_PIXELS` and
`CV_IO_MAX_IMAGE_WIDTH` in OpenCV's `imgcodecs/src/loadsave.cpp`."""

MAX_SAMPLES = 4
"""Largest number of samples per pixel of a TIFF that OpenCV decodes."""

FIRST_SWAPPED = 5
"""Lowest orientation value of an image whose rows are stored as columns. Source: Exif 2.32, tag 0x0112."""

STARTS = [(start, name) for name, starts in DECODED.items() for start in starts] + [
    (start, name) for name, (starts, _) in OTHERS.items() for start in starts
]


def format_of(data: bytes) -> str | None:
    """Return the name of the format of an image file, such as `JPEG` or `HEIC`, or None if it is unknown."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[4:8] == b"ftyp":
        names = data[8 : max(16, min(int.from_bytes(data[:4], "big"), 256))]
        brands = {names[place : place + 4] for place in range(0, len(names), 4)}
        return next((name for brand, name in BRANDS.items() if brand in brands), None)
    if data.startswith(TIFF_STARTS) and (raw := _raw_format(data)) is not None:
        return raw
    _, name = max(((start, name) for start, name in STARTS if data.startswith(start)), default=(b"", None))
    return name or _text_format(data)


def unsupported(data: bytes) -> tuple[str, str] | None:
    """Return the format of a file that OpenCV cannot decode, and what to do. Return None for other files."""
    name = format_of(data)
    if name is None or name in DECODED or name in ("AVIF", "WebP"):
        return None
    return name, OTHERS[name][1] if name in OTHERS else AFTER.get(name, DEVELOP)


def why_undecoded(data: bytes) -> str:
    """Return the reason why `image_file.decode_image` could not decode a file, and what to do."""
    if not data:
        return "the file is empty"
    foreign = unsupported(data)
    if foreign is not None:
        return "{} is not supported; {}".format(*foreign)
    name = format_of(data)
    if name is None:
        return why_odd(data) or "not an image, or damaged"
    width, height = _size(data, name)
    if max(width, height) > MAX_LENGTH or width * height > MAX_PIXELS:
        limit = f"the limit is {MAX_PIXELS} pixels, and {MAX_LENGTH} in height and width"
        return f"the image has {width} x {height} pixels, but {limit}; cut it into smaller images"
    kind = _kind_of_tiff(data) if name == "TIFF" else jpeg.undecoded_kind(data)
    if kind is not None:
        return f"{kind} is not supported; convert it to PNG"
    if is_truncated(data, name):
        return f"the {name} is truncated; copy or download it again"
    if name == "TIFF" and (layout := _layout_of_tiff(data)) is not None:
        return f"OpenCV cannot decode {layout}; convert it to PNG"
    if not _has_decoder(name):
        return f"this OpenCV ({cv2.__version__}) is built without {name}; convert it to JPEG"
    return f"the {name} is damaged{DAMAGE.get(name, '')}"


def displayed_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height of an image after its rotation, or None if the start of its file lacks them."""
    name = format_of(data)
    try:
        width, height = (0, 0) if name is None else _size(data, name)
    except struct.error:
        return None
    if not width or not height:
        return None
    return (height, width) if orientation_of(data) >= FIRST_SWAPPED else (width, height)


def _raw_format(data: bytes) -> str | None:
    """Return the name of a camera raw file with the structure of a TIFF, or None for other files.

    The first image of such a file is a small preview, which OpenCV would decode.
    """
    tags = Tags(data)
    if DNG_VERSION in tags:
        return "camera raw (DNG)"
    if tags.first(SUBFILE) & 1 and MAKE in tags:
        return f"camera raw ({tags.text(MAKE).title()[:40]})"
    return None


def _text_format(data: bytes) -> str | None:
    start = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start.startswith(b"<"):
        return None
    if b"<svg" in start:
        return "SVG"
    return "a page in HTML" if re.match(rb"<(!doctype )?html|<head", start) else None


def _kind_of_tiff(data: bytes) -> str | None:
    """Return the kind of a TIFF whose pixel values OpenCV cannot convert to 8 bits, or None for other files."""
    tags = Tags(data)
    bits = max(tags.values(BITS), default=1)
    if tags.first(SAMPLE_FORMAT, 1) == 3:
        return f"a TIFF of {bits}-bit floating-point numbers"
    return f"a TIFF with {bits} bits per sample" if bits not in (1, 8, 16) else None


def _layout_of_tiff(data: bytes) -> str | None:
    """Return the sample layout of a TIFF if it may be the reason why OpenCV cannot decode the file, or None."""
    tags = Tags(data)
    samples, bits = tags.first(SAMPLES, 1), max(tags.values(BITS), default=1)
    if samples > MAX_SAMPLES or (samples == MAX_SAMPLES and bits > 8):
        return f"a TIFF with {samples} samples of {bits} bits per pixel"
    if TILE_WIDTH in tags:
        return f"a TIFF with tiles of {tags.first(TILE_WIDTH)} x {tags.first(TILE_HEIGHT)} pixels"
    return None


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Return the width and height that the header states, or zeros if they are unknown."""
    if name == "PNG" and len(data) >= 24:
        return struct.unpack_from(">II", data, 16)
    if name == "TIFF":
        tags = Tags(data)
        return tags.first(WIDTH), tags.first(HEIGHT)
    if name == "BMP" and len(data) >= 26:
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(width), abs(height)
    if name == "GIF" and len(data) >= 10:
        return struct.unpack_from("<HH", data, 6)
    if name == "PNM" and (header := pnm.header_of(data)) is not None:
        return header.width, header.height
    return jpeg.size_of(data) if name == "JPEG" else (0, 0)


@cache
def _has_decoder(name: str) -> bool:
    """Return False if the installed OpenCV states that it was built without the decoder of a format."""
    title = {"WebP": "WEBP", "JPEG 2000": "JPEG 2000|OpenJPEG"}.get(name, name)
    match = re.search(rf"^\s+({title}):\s+(\S+)", cv2.getBuildInformation(), re.MULTILINE)
    if match is None:
        return name not in ("AVIF", "GIF", "WebP", "JPEG 2000")
    return match[2] != "NO"

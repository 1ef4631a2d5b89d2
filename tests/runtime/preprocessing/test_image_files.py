"""Image files as cameras, phones and programs write them: orientation, depth, colour, alpha, and truncated files."""

import base64
import io
import struct
import zipfile
import zlib

import cv2
import numpy as np
import pytest
from helpers import factories
from PIL import Image, ImageOps, PngImagePlugin

import orilla.runtime
from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import open_dataset
from orilla.runtime.preprocessing.image_file import decode_image, decode_quietly
from orilla.runtime.preprocessing.image_format import format_of, why_undecoded
from orilla.runtime.preprocessing.image_orientation import orientation_of
from orilla.runtime.sources.registry import open_source

PICTURE = factories.picture(40, 60)
"""BGR."""

ALPHA = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))

WRITERS = {
    "JPEG": {"quality": 100},
    "PNG": {},
    "WEBP": {"lossless": True, "exact": True},
    "TIFF": {},
    "AVIF": {"quality": 100},
}
"""Formats that have an orientation, with options for Pillow's writer."""

ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABALDA4MChAODQ4SERATGCgaGBYWGDEjJR0oOjM9PDkzODdASFxOQERXRTc4UG1RV19iZ2hnPk1xeXBk"
    "eFxlZ2P/yQALCAAQABABAREA/8wABgAQEAX/2gAIAQEAAD8A/wBjKhCzKGwg4hoAYO2A/9k="
)
"""A grey JPEG of 16x16 pixels with arithmetic coding, from dark at the top to bright (`jpegtran -arithmetic`)."""


def written(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def encoded(kind, image=None, **options):
    image = Image.fromarray(PICTURE[..., ::-1]) if image is None else image
    return written(image, kind, **(WRITERS.get(kind, {}) | options))


def tagged(kind, orientation, image=None):
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(kind, image, exif=exif)


def seen(data):
    """Return the image as Pillow displays it, BGR."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))[..., ::-1]


def difference(image, expected):
    assert image.shape == expected.shape
    return int(np.abs(image.astype(int) - expected).max())


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("kind", WRITERS)
def test_every_format_is_turned_once_and_alike(kind, mode, orientation):
    """0 and 9 are not valid orientations. Alpha is removed."""
    image = Image.fromarray(np.dstack([PICTURE[..., ::-1], ALPHA])) if mode == "RGBA" else None
    if (kind, mode) == ("JPEG", "RGBA"):
        return
    data = tagged(kind, orientation, image or Image.fromarray(PICTURE[..., ::-1]).convert(mode))
    expected = seen(data)
    assert difference(decode_image(data), expected) <= 3
    for flags in (cv2.IMREAD_GRAYSCALE, cv2.IMREAD_UNCHANGED):
        assert decode_image(data, flags).shape[:2] == expected.shape[:2]


@pytest.mark.parametrize("compressed", [False, True])
def test_the_orientation_that_imagemagick_stores_as_text_in_a_png(compressed):
    exif = Image.Exif()
    exif[274] = 6
    info = PngImagePlugin.PngInfo()
    content = exif.tobytes()
    info.add_text("Raw profile type exif", f"\nexif\n{len(content):8d}\n{content.hex()}\n", zip=compressed)
    data = encoded("PNG", pnginfo=info)
    assert orientation_of(data) == 6
    assert decode_image(data).shape == (60, 40, 3)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_damaged_orientation_is_ignored(kind):
    """Random bytes in the header change the orientation, or make the file unreadable, but raise no error."""
    data, rng = tagged(kind, 6), np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(data)
        for place in rng.integers(0, min(len(data), 600), 4):
            changed[place] = rng.integers(0, 256)
        assert 1 <= orientation_of(bytes(changed)) <= 8
        why_undecoded(bytes(changed))
    jpeg = tagged("JPEG", 6)
    at = jpeg.index(b"Exif\0\0")
    assert decode_image(jpeg[: at + 6] + b"??" + jpeg[at + 8 :]).shape == (40, 60, 3)


def test_every_path_into_a_model_turns_an_image(tmp_path, tiny_bundle):
    """A source of images, a data set in a folder and in a zip, an unlabelled folder, and the path of one file."""
    data = tagged("AVIF", 6)
    expected = decode_image(data)
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for index in range(2):
                (tmp_path / "set" / split / name / f"{split}{name}{index}.jpg").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.jpg")):
            archive.write(file, file.relative_to(tmp_path))
    folder = tmp_path / "set" / "val" / "cat"
    assert np.array_equal(open_source(folder).read().image, expected)
    for path in ("set", "set.zip"):
        assert np.array_equal(open_dataset(tmp_path / path).load("val", 0).image, expected)
    with orilla.runtime.open(tiny_bundle) as model:
        for path in (folder / "valcat0.jpg", str(folder / "valcat0.jpg")):
            assert np.array_equal(model(path).frame.image, expected)
        assert np.array_equal(model(path, color="rgb").frame.image, expected[..., ::-1])
        with pytest.raises(DataError, match=r"cannot read .*none\.jpg: No such file"):
            model(tmp_path / "none.jpg")


def test_fill_bytes_before_the_segments_of_a_jpeg():
    """Any number of bytes 0xFF may precede a marker. Source: ITU-T T.81, B.1.1.2."""
    data = tagged("JPEG", 6)
    filled = data[:2] + b"\xff" * 3 + data[2:]
    assert orientation_of(filled) == 6
    assert np.array_equal(decode_image(filled), decode_image(data))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_a_bigtiff_is_read_like_a_tiff(mode):
    """The alpha channel is removed without being applied."""
    image = Image.fromarray(np.dstack([PICTURE[..., ::-1], ALPHA])).convert(mode)
    data = tagged("TIFF", 6, image)
    exif = Image.Exif()
    exif[274] = 6
    big = encoded("TIFF", image, exif=exif, big_tiff=True)
    assert big[:4] == b"II+\0"
    assert orientation_of(big) == 6
    assert np.array_equal(decode_image(big), decode_image(data))


def test_masks_and_images_are_turned_alike(tmp_path):
    mask = Image.fromarray(np.where(ALPHA > 127, 255, 0).astype(np.uint8))
    for name, data in (("images/a.jpg", tagged("JPEG", 6)), ("masks/a.png", tagged("PNG", 6, mask))):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(data)
    dataset = open_dataset(tmp_path)
    assert decode_image((tmp_path / "masks/a.png").read_bytes(), cv2.IMREAD_UNCHANGED).shape == (60, 40)
    (tmp_path / "masks/a.png").write_bytes(encoded("PNG", mask))
    with pytest.raises(DataError, match=r"image a\.jpg has shape \[60, 40\], after its EXIF rotation"):
        dataset.load(dataset.splits[0], 0)


@pytest.mark.parametrize(
    ("mode", "kind", "options", "tolerance"),
    [
        ("RGB", "JPEG", {"progressive": True}, 0),
        ("RGB", "JPEG", {"keep_rgb": True}, 0),
        ("CMYK", "JPEG", {}, 1),
        ("L", "JPEG", {}, 0),
        ("LA", "PNG", {}, 0),
        ("P", "PNG", {}, 0),
        ("P", "PNG", {"transparency": 3}, 0),
        ("P", "PNG", {"bits": 4}, 0),
        ("1", "PNG", {}, 0),
        ("CMYK", "TIFF", {}, 0),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}, 0),
        ("1", "TIFF", {"compression": "group4"}, 0),
        ("RGB", "BMP", {}, 0),
        ("RGB", "PPM", {}, 0),
    ],
)
def test_kinds_of_pixels_become_the_colours_that_pillow_shows(mode, kind, options, tolerance):
    image = Image.fromarray(PICTURE[..., ::-1])
    image = image.quantize(16) if mode == "P" else image.convert(mode)
    data = written(image, kind, **options)
    assert difference(decode_image(data), seen(data)) <= tolerance


@pytest.mark.parametrize("header", [40, 52, 56, 124])
@pytest.mark.parametrize("order", ["BGRX", "RGBX", "XBGR", "XRGB"])
def test_the_masks_of_a_bmp_state_the_order_of_its_channels(header, order):
    masks = struct.pack("<4I", *(0xFF << 8 * order.index(name) for name in "RGBX"))
    start = 14 + header + 12 * (header == 40)
    info = struct.pack("<IiiHHIIiiII", header, 60, 40, 1, 32, 3, 60 * 40 * 4, 0, 0, 0, 0)
    masks = masks.ljust(124 - 40, b"\0")[: start - 14 - 40]
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[..., [order.index(name) for name in "BGR"]] = PICTURE[::-1]
    data = struct.pack("<2sIHHI", b"BM", start + pixels.size, 0, 0, start) + info + masks + pixels.tobytes()
    assert difference(decode_image(data), PICTURE) == 0


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF", "TIFF", "MPO"])
def test_the_first_image_of_several_is_used(kind):
    others = [Image.fromarray(255 - PICTURE)]
    data = encoded(kind, save_all=True, append_images=others)
    assert difference(decode_image(data), seen(data)) <= 3


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_images_become_8_bit(suffix):
    """A PNG loses its lower bits, and a TIFF is rounded."""
    for image in (PICTURE, PICTURE[..., 0]):
        deep = image.astype(np.uint16) * 256 + 200
        data = cv2.imencode(suffix, deep)[1].tobytes()
        expected = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        assert difference(decode_image(data), expected) <= (1 if suffix == ".tiff" else 0)


def test_a_jpeg_with_arithmetic_coding():
    image = decode_image(ARITHMETIC)
    assert image.shape == (16, 16, 3)
    assert (np.diff(image[:, 0, 0].astype(int)) > 0).all()


def test_the_suffix_does_not_matter(tmp_path):
    for index, kind in enumerate(WRITERS):
        (tmp_path / f"{index}.jpg").write_bytes(encoded(kind))
    frames = list(iter(open_source(tmp_path).read, None))
    assert all(difference(frame.image, PICTURE) <= 40 for frame in frames)


def test_an_image_without_a_suffix_is_a_source(tmp_path):
    (tmp_path / "photo").write_bytes(tagged("JPEG", 6))
    (tmp_path / "photo.img").write_bytes(tagged("PNG", 6))
    for name in ("photo", "photo.img"):
        assert open_source(tmp_path / name).read().image.shape == (60, 40, 3)


def test_a_jpeg_without_its_end_marker_is_used_if_all_pixels_are_there():
    data = encoded("JPEG")
    for part in (data[:-2], data[:-1], data[:-2] + bytes(500)):
        assert np.array_equal(decode_quietly(part), decode_image(data))
    for part in (data[: len(data) // 2], data[:-20], data[: len(data) // 2] + bytes(500), data[:300]):
        assert decode_quietly(part) is None
    assert np.array_equal(decode_quietly(data + b"trailer"), decode_image(data))
    grey = encoded("JPEG", Image.new("RGB", (60, 40), (128, 128, 128)))
    assert grey.endswith(b"\0\xff\xd9"), "the last byte of its pixel data is zero"
    assert np.array_equal(decode_quietly(grey[:-2]), decode_image(grey))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_with_an_end_marker_but_without_all_pixels_is_rejected(mode):
    """Some cameras and copies cut a JPEG and add the end marker, and decoders fill the rest with grey."""
    data = encoded("JPEG", Image.fromarray(PICTURE[..., ::-1]).convert(mode))
    for end in (len(data) // 2, len(data) * 3 // 4):
        assert decode_quietly(data[:end] + b"\xff\xd9") is None
    parts = encoded("JPEG", subsampling=0, restart_marker_blocks=4)
    for restart in (b"\xff\xd0", b"\xff\xd1", b"\xff\xd6"):
        for end in (parts.index(restart), parts.index(restart) + 2):
            assert decode_quietly(parts[:end] + b"\xff\xd9") is None
            assert decode_quietly(parts[:end]) is None
    assert np.array_equal(decode_quietly(parts[:-2]), decode_image(parts))
    grey = np.full((40, 60, 3), 128, np.uint8)
    whole = encoded("JPEG", Image.fromarray(grey).convert(mode))
    assert np.array_equal(decode_quietly(whole), grey)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_a_file_that_ends_early_is_called_truncated(kind):
    data = encoded(kind)
    for part in (data[: len(data) * 2 // 3], data[:-5] if kind != "JPEG" else data[:-30]):
        assert decode_quietly(part) is None
        name = "WebP" if kind == "WEBP" else kind
        assert why_undecoded(part) == f"the {name} is truncated; copy or download it again"
    progressive = encoded("JPEG", progressive=True)[:-2]
    assert decode_quietly(progressive) is None
    assert "truncated" in why_undecoded(progressive)


def tiff(*tags):
    """Return a TIFF without an image that has tags of one 2-byte number, or of text."""
    entries, texts = b"", b""
    for number, value in tags:
        if isinstance(value, str):
            at = 8 + 2 + 12 * len(tags) + 4 + len(texts)
            entries += struct.pack("<HHII", number, 2, len(value) + 1, at)
            texts += value.encode() + b"\0"
        else:
            entries += struct.pack("<HHIHH", number, 3, 1, value, 0)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + texts


def png_header(width, height):
    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (factories.HEIC, "HEIC is not supported; convert it to JPEG"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99), "camera raw (Canon CR3) is not supported; develop it"),
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(99), "camera raw (Canon CR2) is not supported; develop it to JPEG"),
        (tiff((254, 1), (271, "NIKON CORPORATION")), "camera raw (Nikon Corporation) is not supported; develop it"),
        (tiff((50706, 1)), "camera raw (DNG) is not supported; develop it to JPEG"),
        (tiff((258, 4)), "a TIFF with 4 bits per sample is not supported; convert it to PNG"),
        (tiff((258, 32), (339, 3)), "a TIFF of 32-bit floating-point numbers is not supported; convert it to PNG"),
        (
            tiff((258, 8), (322, 16), (323, 16), (324, 8), (325, 4)),
            "OpenCV cannot decode a TIFF with tiles of 16 x 16 pixels; convert it to PNG",
        ),
        (
            tiff((258, 16), (273, 8), (277, 4), (279, 4)),
            "OpenCV cannot decode a TIFF with 4 samples of 16 bits per pixel; convert it to PNG",
        ),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xc3"), "a lossless JPEG is not supported; convert it to PNG"),
        (encoded("JPEG").replace(b"\xff\xc0", b"\xff\xf7")[:-9], "JPEG-LS is not supported; convert it to PNG"),
        (
            encoded("JPEG").replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc1\x00\x11\x0c"),
            "a JPEG with 12 bits per sample is not supported; convert it to PNG",
        ),
        (encoded("JPEG2000")[:-9], "the JPEG 2000 is truncated; copy or download it again"),
        (encoded("JPEG2000")[:400] + b"\xff\xd9", "the JPEG 2000 is damaged, or of a kind that OpenCV cannot decode;"),
        (b"8BPS\0\1" + bytes(50), "Photoshop (PSD) is not supported; convert it to PNG"),
        (b"<?xml version='1.0'?>\n<svg xmlns=''/>", "SVG is not supported; convert it to PNG"),
        (b"\xff\x0a" + bytes(50), "JPEG XL is not supported; convert it to JPEG"),
        (b"%PDF-1.7", "PDF is not supported; convert it to PNG"),
        (b"<!DOCTYPE html>\n<html>", "a page in HTML is not supported; download the image itself"),
        (b"version https://git-lfs.github.com/spec/v1", "pointer of Git LFS is not supported; run `git lfs pull`"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp41" + bytes(99), "a video is not supported; rename it to .mp4"),
        (png_header(60000, 60000), "the image has 60000 x 60000 pixels, but the limit is 1073741824 pixels"),
        (png_header(2000000, 2), "the image has 2000000 x 2 pixels, but the limit"),
        (png_header(50, 50), "the PNG is damaged"),
        (encoded("TGA"), "TGA is not supported; convert it to PNG"),
        (encoded("TGA", compression="tga_rle"), "TGA is not supported; convert it to PNG"),
        (encoded("SGI"), "SGI is not supported; convert it to PNG"),
        (b"\xef\xbb\xbf" + encoded("JPEG"), "a JPEG after 3 other bytes (a byte order mark); remove them with `tail"),
        (b"\n" + encoded("PNG"), "a PNG after 1 other byte (white space); remove them with `tail -c +2 FILE > NEW`"),
        (b"Content-Type: image/jpeg\r\n\r\n" + encoded("JPEG"), "a JPEG after 28 other bytes (the header of an HTTP"),
        (b"?" * 9 + encoded("GIF"), "a GIF after 9 other bytes (other data); remove them"),
        (encoded("PNG").replace(b"\r\n", b"\n"), "a PNG that was copied as a text, which damaged it; copy or download"),
        (base64.b64encode(encoded("PNG")), "a PNG as text in base64; decode it with `base64 -d FILE > NEW`"),
        (b"data:image/jpeg;base64,/9j/4AAQ", "an address with an image (jpeg) as text in base64; decode the part"),
        (b"hello", "not an image, or damaged"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_that_is_not_decoded_is_called_what_it_is(data, why):
    assert decode_quietly(data) is None
    assert why_undecoded(data).startswith(why)


def test_a_raw_file_whose_preview_opencv_would_decode_is_rejected():
    """The first image of a raw file is a small preview."""
    preview = encoded("TIFF", tiffinfo={271: "NIKON CORPORATION", 254: 1})
    assert format_of(preview) == "camera raw (Nikon Corporation)"
    assert decode_image(preview) is None

"""PBM, PGM, PPM and PAM images with any maximum value, as bytes and as text."""

import cv2
import numpy as np
import pytest

from orilla.runtime.preprocessing.image_file import decode_image
from orilla.runtime.preprocessing.image_format import why_undecoded

HEIGHT, WIDTH = 6, 10
GREY = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) / (HEIGHT * WIDTH - 1)
RGB = np.stack([GREY, GREY[::-1], 1 - GREY], axis=-1)
"""Values from 0 to 1."""


def written(kind, values, maximum):
    """Return a file of the kind 2, 3, 5 or 6."""
    head = b"P%d\n# made by a test\n%d %d\n%d\n" % (kind, WIDTH, HEIGHT, maximum)
    if kind < 5:
        return head + b"\n".join(b" ".join(b"%d" % value for value in row.ravel()) for row in values)
    return head + values.astype(np.uint8 if maximum < 256 else ">u2").tobytes()


@pytest.mark.parametrize("maximum", [1, 15, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_the_maximum_value_is_white(kind, maximum):
    values = np.rint((RGB if kind in (3, 6) else GREY) * maximum).astype(int)
    expected = values * (255 / maximum)
    image = decode_image(written(kind, values, maximum))
    assert image.dtype == np.uint8
    assert np.abs(image - (expected[..., ::-1] if kind in (3, 6) else expected[..., None])).max() < 0.501
    if kind == 5:  # A mask whose values are classes
        stored = decode_image(written(kind, values, maximum), cv2.IMREAD_UNCHANGED)
        assert stored.tolist() == values.tolist()


def test_bitmaps_are_black_where_bits_are_set():
    bits = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3 == 0).astype(np.uint8)
    text = b"".join(b"%d" % bit for bit in bits.ravel())
    for data in (
        b"P1 %d %d\n" % (WIDTH, HEIGHT) + text,
        b"P1\n#\n%d %d\n" % (WIDTH, HEIGHT) + b" ".join(text[i : i + 1] for i in range(len(text))),
        b"P4\n%d\n%d\n" % (WIDTH, HEIGHT) + np.packbits(bits, axis=1).tobytes(),
    ):
        assert decode_image(data)[..., 1].tolist() == (255 * (1 - bits)).tolist()


@pytest.mark.parametrize(
    ("depth", "kind"), [(1, b"GRAYSCALE"), (3, b"RGB"), (4, b"RGB_ALPHA"), (2, b"GRAYSCALE_ALPHA")]
)
def test_the_channels_of_a_pam(depth, kind):
    values = np.rint(np.dstack([RGB, GREY]) * 255).astype(np.uint8)
    stored = values[..., :depth] if depth > 2 else values[..., [0, 3][:depth]]
    head = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL 255\nTUPLTYPE %s\nENDHDR\n" % (WIDTH, HEIGHT, depth, kind)
    expected = values[..., 2::-1] if depth > 2 else values[..., [0, 0, 0]]
    assert np.array_equal(decode_image(head + stored.tobytes()), expected)


@pytest.mark.parametrize("kind", [2, 5, 6])
def test_a_truncated_file(kind):
    values = np.rint((RGB if kind == 6 else GREY) * 255).astype(int)
    data = written(kind, values, 255)[:-5]
    assert decode_image(data) is None
    assert why_undecoded(data) == "the PNM is truncated; copy or download it again"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"P5\n10 10\n70000\n" + bytes(200), "the PNM is damaged"),
        (b"P2\n2 1\n255\n1 x", "the PNM is truncated; copy or download it again"),
        (b"P7\nWIDTH 2\n", "the PNM is damaged"),
        (b"PF\n2 1\n-1.0\n" + bytes(24), "a PFM of floating-point numbers is not supported; convert it to PNG"),
    ],
)
def test_what_cannot_be_decoded(data, reason):
    assert decode_image(data) is None
    assert why_undecoded(data) == reason

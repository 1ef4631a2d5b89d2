"""JPEGs that are damaged in the middle: OpenCV decodes them to shifted or grey images without an error."""

import io
import subprocess
import sys
import threading
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing import jpeg
from orilla.runtime.preprocessing.image_file import decode_image, decode_quietly, read_image
from orilla.runtime.preprocessing.jpeg_damage import is_damaged

GRADIENT = np.linspace(0, 255, 320 * 240 * 3).reshape(240, 320, 3)
PHOTO = Image.fromarray(
    (GRADIENT + np.random.default_rng(3).normal(0, 12, GRADIENT.shape)).clip(0, 255).astype(np.uint8)
)

HUFFMAN = 0xC4
"""Code of the segment with the Huffman tables."""


def encoded(**options):
    file = io.BytesIO()
    PHOTO.save(file, "JPEG", **{"quality": 85} | options)
    return file.getvalue()


def pixels_of(data):
    """Return the start and the end of the pixel data."""
    return next(end for code, _, end in jpeg.segments(data) if code == jpeg.SCAN), data.rindex(jpeg.EOI)


def overwritten(data):
    start, end = pixels_of(data)
    middle = (start + end) // 2
    return data[:middle] + b"\x5a\x31" * 20 + data[middle + 40 :]


def without_a_packet(data):
    start, end = pixels_of(data)
    middle = (start + end) // 2
    return data[:middle] + data[middle + 1400 :]


def without_a_restart_marker(data):
    return data.replace(b"\xff\xd3", b"", 1)


def with_swapped_parts(data):
    third, fourth, fifth = (data.index(bytes((0xFF, code))) for code in (0xD3, 0xD4, 0xD5))
    return data[:third] + data[fourth:fifth] + data[third:fourth] + data[fifth:]


DAMAGED = {
    "overwritten": overwritten(encoded()),
    "a packet is lost": without_a_packet(encoded()),
    "4:4:4": without_a_packet(encoded(subsampling=0)),
    "progressive": overwritten(encoded(progressive=True)),
    "restart markers": without_a_packet(encoded(restart_marker_blocks=20)),
    "a restart marker is lost": without_a_restart_marker(encoded(restart_marker_blocks=20)),
    "parts are swapped": with_swapped_parts(encoded(restart_marker_blocks=20)),
}


def avi1(data):
    """Return a JPEG without Huffman tables, as some cameras write it."""
    parts, last = [], 0
    for code, start, end in jpeg.segments(data):
        if code == HUFFMAN:
            parts.append(data[last : start - 4])
            last = end
    return b"".join([*parts, data[last:]])


def before_the_end(data, extra):
    return data[:-2] + extra + data[-2:]


ODD = {
    "plain": encoded(),
    "no Huffman tables": avi1(encoded()),
    "zeros before the end": before_the_end(encoded(), bytes(500)),
    "fill bytes before the end": before_the_end(encoded(), b"\xff" * 500),
    "a few bytes before the end": before_the_end(encoded(), b"\x12\x34\x56"),
    "a restart marker before the end": before_the_end(encoded(restart_marker_blocks=20), b"\xff\xd7"),
    "fill bytes before each restart marker": encoded(restart_marker_blocks=20).replace(
        b"\xff\xd2", b"\xff\xff\xff\xd2"
    ),
    "restart markers": encoded(restart_marker_rows=1),
    "no end": encoded()[:-2],
    "data after the end": encoded() + bytes(300),
    "progressive": encoded(progressive=True),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_in_the_middle_is_found(case, tmp_path):
    data = DAMAGED[case]
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3), "OpenCV reads it"
    assert decode_quietly(data) is None
    assert is_damaged(data)
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match=r"cannot decode .*a.jpg: the JPEG is damaged: part of its pixel data is"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("case", ODD)
def test_odd_images_of_cameras_are_not_damaged(case):
    image = decode_quietly(ODD[case])
    assert image is not None
    assert np.abs(image.astype(int) - decode_image(encoded()).astype(int)).max() <= 1
    assert not is_damaged(ODD[case])


def test_most_damage_is_found():
    """In a quarter of the cases, the number of coded blocks is right by accident, or only a few blocks change."""
    rng, data = np.random.default_rng(5), encoded()
    start, end = pixels_of(data)
    found = 0
    for place in rng.integers(start, end - 100, 40):
        found += (
            decode_quietly(data[:place] + rng.integers(0, 255, 64, np.uint8).tobytes() + data[place + 64 :]) is None
        )
    assert found >= 26


def test_only_the_damaged_image_is_rejected_while_several_threads_decode():
    wrong = []

    def work(data, damaged):
        wrong.extend(n for n in range(60) if (decode_quietly(data) is None) is not damaged)

    cases = [(encoded(), False), (DAMAGED["overwritten"], True)] * 2
    threads = [threading.Thread(target=work, args=case) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


OTHER_LIBRARY = """
import ctypes, sys, threading, time
import cv2, numpy as np
from orilla.runtime.preprocessing.image_file import decode_image
libc = ctypes.CDLL(None)
data, done = open(sys.argv[1], "rb").read(), []
def work():
    while not done:
        assert decode_image(data) is None
thread = threading.Thread(target=work)
thread.start()
for number in range(300):
    stream = ctypes.c_void_p.in_dll(libc, "stderr")
    libc.fputs(b"message %d\\n" % number, stream)
    libc.fflush(None)
done.append(True)
thread.join()
print("to Python", file=sys.stderr)
"""


def test_messages_of_other_libraries_reach_standard_error(tmp_path):
    (tmp_path / "a.jpg").write_bytes(DAMAGED["overwritten"])
    command = [sys.executable, "-c", OTHER_LIBRARY, str(tmp_path / "a.jpg")]
    lines = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True, timeout=60).stderr.splitlines()
    assert lines == [*(f"message {number}" for number in range(300)), "to Python"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cats_and_dogs_filtered.zip", "cats_and_dogs_more.zip"])
def test_real_photos_are_not_damaged(data_root, name):
    if not (data_root / name).exists():
        pytest.skip(f"{name} is not in ORILLA_DATA")
    with zipfile.ZipFile(data_root / name) as archive:
        names = [member for member in archive.namelist() if member.endswith(".jpg")]
        damaged = [member for member in names if decode_quietly(archive.read(member)) is None]
    assert len(names) > 1000
    assert damaged == []

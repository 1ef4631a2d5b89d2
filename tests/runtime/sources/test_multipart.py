"""Streams of images as real servers send them. For each kind of server, a function converts images to bytes."""

import cv2
import numpy as np
import pytest
from helpers import factories
from hypothesis import given, settings
from hypothesis import strategies as st

from orilla.runtime.sources import multipart
from orilla.runtime.sources.jpeg_scanner import BrokenJpegError, JpegScanner, is_whole
from orilla.runtime.sources.multipart import ByteStream, ImageParts, Part

COUNT = 4


def jpeg(seed, size=(48, 64), quality=90):
    return cv2.imencode(".jpg", factories.picture(*size, seed), [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


SMALL = [jpeg(seed) for seed in range(COUNT)]
NOISE = np.random.default_rng(0).integers(0, 255, (COUNT, 300, 400, 3), np.uint8)
LARGE = [cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for image in NOISE]
"""Images of more than 64 KiB."""


def received(data, piece=1000, boundary="frame"):
    """Return the parts that are found in data, which arrives in pieces of the same size. The stream then ends."""
    pieces = iter([data[start : start + piece] for start in range(0, len(data), piece)])
    parts = ImageParts(ByteStream(lambda count: next(pieces, b"")), boundary)
    found: list[Part] = []
    try:
        while True:
            found.append(parts.next())
    except EOFError:
        return found


def images(data, piece=1000, boundary="frame"):
    return [part.data for part in received(data, piece, boundary)]


def fields(data, line=b"\r\n"):
    return b"Content-Type: image/jpeg" + line + b"Content-Length: %d" % len(data) + line * 2


HABITS = {
    "by the standard": lambda data: b"--frame\r\n" + fields(data) + data + b"\r\n",
    "no lengths": lambda data: b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n",
    "no first boundary": lambda data: fields(data) + data + b"\r\n--frame\r\n",
    "no first boundary, no lengths": lambda data: b"Content-Type: image/jpeg\r\n\r\n" + data + b"\r\n--frame\r\n",
    "line feeds only": lambda data: b"--frame\n" + fields(data, b"\n") + data + b"\n",
    "blank lines everywhere": lambda data: b"\r\n\r\n--frame\r\n" + fields(data) + b"\r\n\r\n" + data + b"\r\n\r\n\r\n",
    "no header": lambda data: b"--frame\r\n\r\n" + data + b"\r\n",
    "no blank line": lambda data: b"--frame\r\nContent-Type: image/jpeg\r\n" + data + b"\r\n",
    "no boundary": lambda data: fields(data) + data,
    "no line break behind the image": lambda data: b"--frame\r\n" + fields(data) + data,
    "images only": lambda data: data,
    "four hyphens": lambda data: b"----frame\r\n" + fields(data) + data + b"\r\n",
    "no hyphens": lambda data: b"frame\r\n" + fields(data) + data + b"\r\n",
    "another boundary": lambda data: b"--myboundary\r\n" + fields(data) + data + b"\r\n",
    "end boundary after each image": lambda data: b"--frame\r\n" + fields(data) + data + b"\r\n--frame--\r\n",
    "length 0": lambda data: b"--frame\r\nContent-Length: 0\r\n\r\n" + data + b"\r\n",
    "length too small": lambda data: b"--frame\r\nContent-Length: %d\r\n\r\n" % (len(data) // 2) + data + b"\r\n",
    "length too large": lambda data: b"--frame\r\nContent-Length: %d\r\n\r\n" % (len(data) + 50) + data + b"\r\n",
    "length not a number": lambda data: b"--frame\r\nContent-Length: big\r\n\r\n" + data + b"\r\n",
    "padded": lambda data: b"--frame\r\n" + fields(data + bytes(20)) + data + bytes(20) + b"\r\n",
    "texts between": lambda data: (
        b"--frame\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello\r\n"
        b"--frame\r\nContent-Type: application/json\r\n\r\n{}\r\n--frame\r\n" + fields(data) + data + b"\r\n"
    ),
    "empty parts between": lambda data: (
        b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 0\r\n\r\n\r\n--frame\r\n" + fields(data) + data
    ),
    "names in capitals, spaces": lambda data: b"--frame \r\nCONTENT-LENGTH :%d\r\n \r\n" % len(data) + data + b"\r\n",
}


@pytest.mark.parametrize(("size", "piece"), [("small", 97), ("small", 1460), ("large", 5000), ("large", 1 << 20)])
@pytest.mark.parametrize("habit", HABITS)
def test_every_image_is_found_whatever_the_habits_of_the_server(habit, piece, size):
    pictures = {"small": SMALL, "large": LARGE}[size]
    assert images(b"".join(map(HABITS[habit], pictures)), piece) == pictures


@pytest.mark.parametrize("habit", HABITS)
def test_an_image_is_found_before_the_next_one_arrives(habit):
    """If the reader waited for the next image, every answer would be one frame late."""
    sent = HABITS[habit](SMALL[0])
    pieces = [sent[: sent.rindex(b"\xff\xd9") + 2]]
    parts = ImageParts(ByteStream(lambda count: pieces.pop(0) if pieces else b""), "frame")
    assert parts.next().data == SMALL[0]


def test_a_boundary_inside_an_image_does_not_end_it():
    data = SMALL[0][:-2] + b"\r\n--frame\r\nContent-Length: 5\r\n\r\n" + SMALL[0][-2:]
    for habit in ("by the standard", "no lengths"):
        assert images(HABITS[habit](data) + HABITS[habit](SMALL[1])) == [data, SMALL[1]]


def test_a_thumbnail_inside_an_image_does_not_end_it():
    thumbnail = b"\xff\xe1" + (len(SMALL[1]) + 2).to_bytes(2, "big") + SMALL[1]
    data = SMALL[0][:2] + thumbnail + SMALL[0][2:]
    assert images(HABITS["no lengths"](data) * 2) == [data, data]


@pytest.mark.parametrize("habit", ["by the standard", "no lengths", "no first boundary", "four hyphens"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.99])
def test_a_truncated_image_is_one_damaged_frame(habit, share):
    cut = LARGE[1][: int(len(LARGE[1]) * share)]
    data = b"".join(map(HABITS[habit], [LARGE[0], cut, LARGE[2], LARGE[3]]))
    assert images(data) == [LARGE[0], None, LARGE[2], LARGE[3]]


def test_a_truncated_image_among_images_only():
    assert images(SMALL[0] + SMALL[1][:-100] + SMALL[2]) == [SMALL[0], None, SMALL[2]]


def test_a_stream_that_is_joined_within_an_image():
    for habit in ("by the standard", "no first boundary", "images only"):
        data = b"".join(map(HABITS[habit], LARGE))
        assert images(data[50_000:])[-3:] == LARGE[1:]


def test_images_of_other_formats_need_a_length_or_a_boundary():
    png = cv2.imencode(".png", factories.picture(48, 64))[1].tobytes()
    webp = cv2.imencode(".webp", factories.picture(48, 64))[1].tobytes()
    assert images(HABITS["by the standard"](png) * 3) == [png] * 3
    assert images(HABITS["by the standard"](webp) * 3) == [webp] * 3
    assert images(HABITS["no lengths"](webp) * 3, piece=100)[:2] == [webp + b"\r"] * 2


def test_a_stream_without_images_is_refused(monkeypatch):
    monkeypatch.setattr(multipart, "MAX_BETWEEN", 100_000)
    with pytest.raises(ValueError, match="sent no image within"):
        received(b"hello\r\n" * 20_000, piece=1 << 16)
    with pytest.raises(ValueError, match="sent no image within"):
        received(b"--frame\r\nContent-Type: text/plain\r\n\r\nhello\r\n" * 3_000, piece=1 << 16)
    with pytest.raises(ValueError, match="announced an image of 99999999999 bytes"):
        received(b"--frame\r\nContent-Length: 99999999999\r\n\r\nhello, no image")


@pytest.mark.parametrize(
    ("field", "stated_ms"),
    [
        (b"X-Timestamp: 1700000000.250000", 1_700_000_000_250.0),
        (b"X-Timestamp:12.5", 12_500.0),
        (b"x-timestamp: 1700000000250", 1_700_000_000_250.0),
        (b"X-TimeStamp: 1700000000250000", 1_700_000_000_250.0),
        (b"Timestamp: 1700000000250000000", 1_700_000_000_250.0),
        (b"X-Timestamp: yesterday", None),
        (b"X-Time: 1", None),
    ],
)
def test_the_time_that_a_server_states(field, stated_ms):
    (part,) = received(b"--frame\r\n" + field + b"\r\n" + fields(SMALL[0]) + SMALL[0])
    assert part.stated_ms == (stated_ms and pytest.approx(stated_ms, abs=0.001))


def test_an_image_has_arrived_with_its_first_byte(monkeypatch):
    """The clock counts the pieces that have been received."""
    now = [0]
    monkeypatch.setattr(multipart, "now_ns", lambda: now[0])

    def arrivals(pieces):
        def read(count):
            now[0] += 1
            return pieces.pop(0) if pieces else b""

        now[0] = 0
        parts = ImageParts(ByteStream(read))
        return [parts.next().arrived_ns for _ in SMALL]

    data = b"".join(map(HABITS["by the standard"], SMALL))
    pieces = [data[start : start + 500] for start in range(0, len(data), 500)]
    assert arrivals(pieces) == [1 + data.index(image) // 500 for image in SMALL]
    assert arrivals(list(SMALL)) == [1, 2, 3, 4]


def test_the_end_of_a_jpeg_is_found_as_soon_as_it_arrives():
    scanner = JpegScanner()
    for length in range(3, len(SMALL[0])):
        assert scanner.find_end(bytearray(SMALL[0][:length])) is None
    assert scanner.find_end(bytearray(SMALL[0] + b"\r\n--frame")) == len(SMALL[0])
    with pytest.raises(BrokenJpegError):
        JpegScanner().find_end(bytearray(b"\xff\xd8hello, no picture at all"))
    assert is_whole(SMALL[0])
    assert is_whole(SMALL[0] + b"\0\0")
    assert not is_whole(SMALL[0][:-2])
    assert not is_whole(b"\xff\xd8\xffhello")
    assert is_whole(b"not a JPEG")


@given(
    data=st.lists(
        st.sampled_from([*SMALL, b"\r\n--frame\r\n", b"\xff\xd8\xff", b"Content-Length: 7\r\n\r\n", b"\r\n", b"\xff"])
        | st.binary(max_size=60),
        max_size=12,
    ),
    piece=st.integers(1, 400),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_end_without_a_crash(data, piece):
    for part in received(b"".join(data), piece):
        assert part.data is None or isinstance(part.data, bytes)


@given(junk=st.binary(max_size=300), piece=st.integers(50, 5000))
@settings(max_examples=100, deadline=None)
def test_whole_images_are_found_again_after_any_junk(junk, piece):
    rest = b"".join(map(HABITS["by the standard"], SMALL))
    assert images(junk + b"\r\n" + rest + rest, piece)[-COUNT:] == SMALL

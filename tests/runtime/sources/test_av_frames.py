"""Conversion of decoded frames to BGR images. The tests create the frames, so no file and no codec is involved."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from orilla.devices.errors import DataError
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.av_frames import HDR_TRANSFERS, FrameConverter

BGR = ((0, 0, 255), (0, 255, 0), (255, 0, 0), (40, 120, 200), (255, 255, 255), (0, 0, 0), (128, 128, 128))
MATRICES = {1: "bt709", 2: "bt601", 5: "bt601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
EIGHT_BIT = ("yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "yuva420p", "yuyv422")
OTHERS = ("yuv420p10le", "yuv422p10le", "yuv444p12le", "p010le", "rgb24", "bgra", "gbrp", "gbrp10le", "rgb48le")


def bars(height=32):
    return np.repeat(np.repeat(np.array([BGR], np.uint8), 16, axis=1), height, axis=0)


def frame_of(image, pix_fmt, matrix=2, *, full=False, field="prog"):
    """Return a frame with the pixels of `image`, converted by FFmpeg's filters to the given format and matrix."""
    graph = av.filter.Graph()
    height, width = image.shape[:2]
    graph.link_nodes(
        graph.add_buffer(width=width, height=height, format="bgr24", time_base=Fraction(1, 25)),
        graph.add("scale", f"out_color_matrix={MATRICES[matrix]}:out_range={'full' if full else 'limited'}"),
        graph.add("format", f"pix_fmts={pix_fmt}"),
        graph.add("setfield", field),
        graph.add("buffersink"),
    ).configure()
    graph.vpush(av.VideoFrame.from_ndarray(image, format="bgr24"))
    frame = graph.vpull()
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
    return frame


def only(converter, frame, **options):
    ((image, tag),) = converter.push(frame, "tag", **options)
    assert tag == "tag"
    return image


@pytest.mark.parametrize("pix_fmt", EIGHT_BIT + OTHERS)
def test_colours_follow_the_tags(pix_fmt):
    converter = FrameConverter(BufferPool())
    for matrix in MATRICES:
        for full in (False, True):
            image = only(converter, frame_of(bars(), pix_fmt, matrix, full=full))
            error = np.abs(image[16, 8::16].astype(int) - np.array(BGR)).max()
            assert error <= 6, f"matrix {matrix}, full={full}: differs by {error}"


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "ya8"])
def test_grey_frames(pix_fmt):
    image = only(FrameConverter(BufferPool()), frame_of(bars(), pix_fmt))
    assert image[16, 8::16, 0].tolist() == pytest.approx([76, 150, 29, 135, 255, 0, 128], abs=1)
    assert (image[..., 0] == image[..., 1]).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 33), (25, 1), (25, 33), (17, 64), (480, 641)])
def test_odd_sizes(height, width):
    image = np.full((height, width, 3), (40, 120, 200), np.uint8)
    converted = only(FrameConverter(BufferPool()), frame_of(image, "yuv420p"))
    assert converted.shape == (height, width, 3)
    assert np.abs(converted.astype(int) - (40, 120, 200)).max() <= 6


@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (None, (32, 112)),
        (Fraction(1), (32, 112)),
        (Fraction(2), (32, 224)),
        (Fraction(1, 2), (64, 112)),
        (Fraction(16, 11), (32, 163)),
        (Fraction(1, 1000), (32, 112)),
    ],
)
def test_pixels_become_square(aspect, size):
    image = only(FrameConverter(BufferPool()), frame_of(bars(), "yuv444p"), aspect=aspect)
    assert image.shape == (*size, 3)
    assert np.abs(image[size[0] // 2, size[1] // 14].astype(int) - BGR[0]).max() <= 3


def test_a_size_may_change_in_mid_stream():
    converter = FrameConverter(BufferPool(2))
    for height, pix_fmt in ((32, "yuv420p"), (16, "yuv420p"), (16, "yuv444p"), (32, "yuv420p")):
        assert only(converter, frame_of(bars(height), pix_fmt)).shape == (height, 112, 3)


def woven(step, field):
    """Return an interlaced frame: a bar moves by 4 pixels between the field of even rows and the field of odd rows."""
    image = np.zeros((64, 112, 3), np.uint8)
    for parity in (0, 1):
        left = 8 + 8 * step + 4 * parity
        image[parity::2, left : left + 20] = 255
    return frame_of(image, "yuv444p", field=field)


def combed(image):
    """Return the largest difference between rows that are next to each other, away from the border."""
    return int(np.abs(np.diff(image[10:-10].astype(int), axis=0)).max())


def test_interlaced_frames_are_deinterlaced_one_frame_late():
    converter = FrameConverter(BufferPool(2))
    frames = [woven(step, "tff") for step in range(5)]
    raw = FrameConverter(BufferPool(2))
    assert combed(only(raw, woven(0, "prog"))) > 200
    done = [converter.push(frame, step) for step, frame in enumerate(frames)]
    assert [len(images) for images in done] == [0, 1, 1, 1, 1]
    images = [image for group in (*done, converter.flush()) for image in group]
    assert [tag for _, tag in images] == [0, 1, 2, 3, 4]
    assert all(combed(image) < 100 for image, _ in images)
    assert converter.flush() == []


def test_progressive_frames_of_an_interlaced_stream_stay_in_order():
    converter = FrameConverter(BufferPool(2))
    fields = ("prog", "tff", "prog", "prog", "tff")
    done = [tag for step, field in enumerate(fields) for _, tag in converter.push(woven(step, field), step)]
    assert done + [tag for _, tag in converter.flush()] == [0, 1, 2, 3, 4]


def test_high_dynamic_range_becomes_standard():
    """Grey of 203 cd/m², the reference white of HDR, becomes white. In PQ, this is the code 58 %, and in HLG 75 %."""
    for transfer, code in zip(HDR_TRANSFERS, (0.58, 0.75), strict=True):
        frame = av.VideoFrame(64, 64, "yuv420p10le")
        for plane, value in zip(frame.planes, (64 + code * 876, 512, 512), strict=True):
            np.frombuffer(plane, np.uint16)[:] = round(value)
        frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = 9, 1, transfer, 9
        image = only(FrameConverter(BufferPool()), frame)
        assert image.min() > 235, f"transfer {transfer}"


def turned(matrix):
    """Return a frame of a file whose track header has the display matrix `a, b, c, d`, signed whole numbers."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 112, 32, "yuv444p"
        frame = frame_of(bars(), "yuv444p")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    data = bytearray(file.getvalue())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    with av.open(io.BytesIO(bytes(data))) as container:
        return next(container.decode(video=0))


@pytest.mark.parametrize(
    ("matrix", "turn"),
    [
        ((1, 0, 0, 1), lambda image: image),
        ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
        ((1, 0, 0, -1), lambda image: image[::-1]),
        ((-1, 0, 0, -1), lambda image: image[::-1, ::-1]),
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
        ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
        ((0, 1, 1, 0), lambda image: image.transpose(1, 0, 2)),
        ((0, -1, -1, 0), lambda image: np.rot90(image, 2).transpose(1, 0, 2)),
    ],
)
def test_the_display_matrix_is_applied_once(matrix, turn):
    expected = turn(bars())
    image = only(FrameConverter(BufferPool()), turned(matrix))
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).mean() < 12


def test_a_frame_that_cannot_be_converted_is_an_error_and_the_next_one_is_converted():
    converter = FrameConverter(BufferPool())
    with pytest.raises(DataError, match="a frame of 0x0 with pixel format yuv420p cannot be converted: "):
        converter.push(av.VideoFrame(0, 0, "yuv420p"), "tag")
    assert only(converter, frame_of(bars(), "yuv420p")).shape == (32, 112, 3)

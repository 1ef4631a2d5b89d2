"""Video files of every codec and container that PyAV can write, with the oddities of real files.

Each frame of a test clip is a bar of known width and colour on a grey background, so that its index can be read from
its pixels. The tests create the clips, so no file is needed.
"""

import gc
import io
import itertools
import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event
from orilla.runtime.sources import video_container
from orilla.runtime.sources.registry import open_source

WIDTH, HEIGHT, COUNT, RATE = 128, 64, 12, 10
BAR_BGR = (20, 40, 160)
MS = 1_000_000


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    """Decode in one thread, as on a machine with two cores, so that the tests do not depend on the machine."""
    monkeypatch.setattr(video_container, "available_cores", lambda: 2)


def picture(number, width=WIDTH, height=HEIGHT):
    """Return the image with this index: a grey background with a coloured bar, `8 * (number + 1)` pixels wide."""
    image = np.full((height, width, 3), 120, np.uint8)
    image[:, : 8 * (number + 1)] = BAR_BGR
    return image


def number_of(image):
    """Return the index of the image in a frame, which the width of the bar encodes."""
    green = image[image.shape[0] // 2, :, 1].astype(int)
    return round(float((green < (BAR_BGR[1] + 120) / 2).sum()) / 8) - 1


def encode(container, codec, times=None, *, pix_fmt="yuv420p", size=(WIDTH, HEIGHT), rate=RATE, options=(), setup=None):
    """Encode `COUNT` frames at the given times in units of 1/1000 s, and return the stream."""
    stream = container.add_stream(codec, rate=rate, options=dict(options))
    stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
    if times is not None:
        stream.codec_context.time_base = Fraction(1, 1000)
    if setup is not None:
        setup(stream)
    for number in range(COUNT):
        frame = av.VideoFrame.from_ndarray(picture(number, *size), format="bgr24").reformat(format=pix_fmt)
        frame.pts, frame.time_base = number, 1 / Fraction(rate)
        if times is not None:
            frame.pts, frame.time_base = times[number], Fraction(1, 1000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
    return stream


def clip(path, codec, times=None, *, container=None, muxer=(), **options):
    with av.open(str(path), "w", format=container, options=dict(muxer)) as file:
        encode(file, codec, times, **options)
    return path


def read(path):
    """Return the frames and the events of a source."""
    source, items = open_source(path), []
    try:
        while (item := source.read()) is not None:
            items.append(item if isinstance(item, Event) else (item, item.image.copy()))
    finally:
        source.close()
    frames = [item for item in items if not isinstance(item, Event)]
    return (
        source,
        [frame for frame, _ in frames],
        [image for _, image in frames],
        [i for i in items if isinstance(i, Event)],
    )


def check_whole(path, *, count=COUNT, size=(WIDTH, HEIGHT), tolerance=30, rate=RATE):
    """Check the count, order, times and colours of all frames."""
    source, frames, images, events = read(path)
    assert events == []
    assert [frame.index for frame in frames] == list(range(count))
    assert [number_of(image) for image in images] == list(range(count))
    assert {image.shape for image in images} == {(size[1], size[0], 3)}
    assert source.rate_hz == pytest.approx(rate, rel=0.01)
    assert [frame.time_ns for frame in frames] == pytest.approx([i * 1e9 / rate for i in range(count)], abs=1.1 * MS)
    stamps = [frame.captured_ns for frame in frames]
    assert all(earlier < later for earlier, later in itertools.pairwise(stamps))
    left, right = images[-1][size[1] // 2, 8], images[0][size[1] // 2, -9]
    assert np.abs(left.astype(int) - BAR_BGR).max() <= tolerance
    assert np.abs(right.astype(int) - 120).max() <= tolerance


SVT = {"svtav1-params": "preset=12", "crf": "20"}
FORMATS = [
    # H.264: with and without B-frames, in every container, and with other chroma formats and depths.
    ("mp4", "libx264", {}),
    ("mov", "libx264", {}),
    ("mkv", "libx264", {}),
    ("avi", "libx264", {"options": {"bf": "0"}}),
    ("avi", "libx264", {"options": {"bf": "3", "x264-params": "b-pyramid=normal"}}),
    ("flv", "libx264", {}),
    ("ts", "libx264", {}),
    ("m2ts", "libx264", {}),
    ("3gp", "libx264", {}),
    ("mp4", "libx264", {"options": {"bf": "3", "x264-params": "b-pyramid=normal"}}),
    ("mp4", "libx264", {"pix_fmt": "yuv422p"}),
    ("mp4", "libx264", {"pix_fmt": "yuv444p"}),
    ("mp4", "libx264", {"pix_fmt": "yuv420p10le"}),
    ("mp4", "libx264rgb", {"pix_fmt": "rgb24"}),
    ("mp4", "libx264", {"muxer": {"movflags": "frag_keyframe+empty_moov"}}),
    ("mp4", "libx264", {"muxer": {"movflags": "faststart"}}),
    # HEVC, AV1, VP8 and VP9.
    ("mp4", "libx265", {"options": {"x265-params": "log-level=none"}}),
    ("mkv", "libx265", {"pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=none"}}),
    ("mp4", "libsvtav1", {"options": SVT}),
    ("webm", "libsvtav1", {"options": SVT}),
    ("ivf", "libsvtav1", {"options": SVT}),
    ("webm", "libvpx", {"options": {"crf": "4", "b:v": "2M"}}),
    ("webm", "libvpx-vp9", {"options": {"crf": "4", "b:v": "0", "cpu-used": "8"}}),
    ("webm", "libvpx-vp9", {"pix_fmt": "yuva420p", "options": {"crf": "4", "b:v": "0", "cpu-used": "8"}}),
    # Older codecs.
    ("mp4", "mpeg4", {"options": {"qscale": "2"}}),
    ("avi", "mpeg4", {}),
    ("avi", "msmpeg4", {}),
    ("avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
    ("mkv", "mjpeg", {"pix_fmt": "yuvj422p"}),
    ("mpg", "mpeg1video", {"rate": 25}),
    ("mpg", "mpeg2video", {"rate": 25}),
    ("ts", "mpeg2video", {"rate": 25}),
    ("wmv", "wmv2", {}),
    ("asf", "wmv1", {}),
    ("asf", "libx264", {"options": {"bf": "3", "x264-params": "b-pyramid=normal"}}),
    ("flv", "flv", {}),
    ("rm", "rv20", {"size": (128, 96)}),
    ("avi", "cinepak", {"pix_fmt": "rgb24"}),
    ("mov", "svq1", {"pix_fmt": "yuv410p"}),
    # Codecs of video editors, and lossless codecs.
    ("mov", "prores_ks", {"pix_fmt": "yuv422p10le"}),
    ("mov", "prores_ks", {"pix_fmt": "yuva444p10le"}),
    ("mov", "qtrle", {"pix_fmt": "rgb24"}),
    ("mov", "png", {"pix_fmt": "rgb24"}),
    ("avi", "ffv1", {}),
    ("mkv", "ffv1", {"pix_fmt": "gbrp10le"}),
    ("mkv", "ffv1", {"pix_fmt": "yuv444p12le"}),
    ("avi", "huffyuv", {"pix_fmt": "yuv422p"}),
    ("avi", "utvideo", {"pix_fmt": "gbrp"}),
    ("avi", "rawvideo", {"pix_fmt": "bgr24"}),
    ("mkv", "rawvideo", {"pix_fmt": "yuv420p"}),
    ("y4m", "wrapped_avframe", {}),
    ("nut", "snow", {"options": {"strict": "experimental"}}),
    # Animations.
    ("gif", "gif", {"pix_fmt": "rgb8", "tolerance": 80}),
    ("png", "apng", {"pix_fmt": "rgb24", "container": "apng"}),
    ("apng", "apng", {"pix_fmt": "rgba"}),
    ("avif", "libsvtav1", {"options": SVT}),
    (
        "webp",
        "libwebp_anim",
        {"pix_fmt": "yuv420p", "container": "webp", "tolerance": 60, "options": {"quality": "90"}},
    ),
    # Odd sizes.
    ("mp4", "libx264", {"pix_fmt": "yuv444p", "size": (129, 65)}),
    ("mkv", "ffv1", {"size": (131, 67)}),
    # Elementary streams, which contain no times.
    ("h264", "libx264", {}),
    ("hevc", "libx265", {"options": {"x265-params": "log-level=none"}}),
    ("m1v", "mpeg1video", {"rate": 25}),
    ("m4v", "mpeg4", {"container": "m4v"}),
    ("mjpeg", "mjpeg", {"pix_fmt": "yuvj420p", "rate": 25}),
    ("obu", "libsvtav1", {"rate": 25, "options": SVT}),
]


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    FORMATS,
    ids=[f"{n}-{codec}.{suffix}" for n, (suffix, codec, _) in enumerate(FORMATS)],
)
def test_formats(tmp_path, suffix, codec, options):
    options = dict(options)
    tolerance = options.pop("tolerance", 30)
    path = tmp_path / f"clip.{suffix}"
    clip(path, codec, **options)
    rate = options.get("rate", RATE)
    check_whole(path, size=options.get("size", (WIDTH, HEIGHT)), tolerance=tolerance, rate=rate)


VARIABLE = (0, 20, 60, 100, 110, 400, 410, 420, 1000, 1500, 1510, 3000)
"""Times of frames in milliseconds, as a screen recorder or a phone writes them."""


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {}),
        ("mov", "libx264", {"options": {"bf": "0"}}),
        ("mkv", "libx264", {}),
        ("ts", "libx264", {}),
        ("flv", "libx264", {}),
        ("webm", "libvpx", {"options": {"b:v": "2M", "auto-alt-ref": "0"}}),
        ("mkv", "ffv1", {}),
        ("gif", "gif", {"pix_fmt": "rgb8"}),
        ("png", "apng", {"pix_fmt": "rgb24", "container": "apng"}),
    ],
)
@pytest.mark.parametrize("start_ms", [0, 5000, -40])
def test_variable_frame_rates_and_other_starts(tmp_path, suffix, codec, options, start_ms):
    if start_ms < 0 and suffix in ("mp4", "mov"):
        pytest.skip("the muxer writes an edit list that removes frames before 0")
    times = [time + start_ms for time in VARIABLE]
    path = clip(tmp_path / f"clip.{suffix}", codec, times, **options)
    _, frames, images, events = read(path)
    assert events == []
    assert [number_of(image) for image in images] == list(range(COUNT))
    assert [frame.time_ns / MS for frame in frames] == pytest.approx(VARIABLE, abs=1.1)


def box(data, *names):
    """Return the start and end of the content of the MP4 box with this path."""
    place, end = 0, len(data)
    for name in names:
        while data[place + 4 : place + 8] != name:
            place += int.from_bytes(data[place : place + 4], "big")
            assert place < end, f"no box {name}"
        end = place + int.from_bytes(data[place : place + 4], "big")
        place += 8
    return place


MDIA = (b"moov", b"trak", b"mdia")
STSD = (*MDIA, b"minf", b"stbl", b"stsd")


def test_an_edit_list_cuts_the_beginning(tmp_path):
    """The edit list states that the clip begins 300 ms later and lasts 500 ms.

    Phones write such lists for trimmed clips.
    """
    path = clip(tmp_path / "clip.mp4", "libx264", options={"bf": "0", "g": "1"})
    data = bytearray(path.read_bytes())
    place = box(data, b"moov", b"trak", b"edts", b"elst")
    scale = struct.unpack_from(">I", data, box(data, *MDIA, b"mdhd") + 12)[0]
    struct.pack_into(">II", data, place + 8, 500, round(0.3 * scale))
    path.write_bytes(data)
    _, frames, images, events = read(path)
    assert events == []
    assert [number_of(image) for image in images] == [3, 4, 5, 6, 7]
    assert [frame.time_ns / MS for frame in frames] == [0, 100, 200, 300, 400]


def test_frames_without_times_are_one_period_apart(tmp_path):
    path = clip(tmp_path / "clip.avi", "libx264", options={"bf": "2"})
    _, frames, images, _ = read(path)
    assert [number_of(image) for image in images] == list(range(COUNT))
    steps = np.diff([frame.time_ns for frame in frames])
    assert steps.min() > 0
    assert frames[-1].time_ns == pytest.approx(1.1e9, rel=0.1)


def test_the_clock_of_joined_recordings_restarts(tmp_path):
    first = clip(tmp_path / "a.ts", "libx264").read_bytes()
    (tmp_path / "joined.ts").write_bytes(first + first)
    _, frames, images, _ = read(tmp_path / "joined.ts")
    assert [number_of(image) for image in images] == 2 * list(range(COUNT))
    assert [frame.time_ns / MS for frame in frames] == pytest.approx([100 * n for n in range(2 * COUNT)], abs=60)


def packets(path):
    """Return presentation time, position and content of each packet of a file."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        found = [(packet.pts, bytes(packet)) for packet in container.demux(video=0) if packet.size]
    return [(pts, data.index(content), content) for pts, content in found]


@pytest.mark.parametrize("damaged", [0, 1, 5, 10, 11])
@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("mkv", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("avi", "mpeg4", {"options": {"g": "1"}}),
        ("mp4", "mpeg4", {"options": {"g": "1"}}),
        ("avi", "libx264", {"options": {"g": "1", "bf": "0"}}),
        ("mp4", "libx264", {"options": {"g": "1"}}),
        ("mp4", "libx265", {"options": {"g": "1", "x265-params": "log-level=none:keyint=1"}}),
        ("mkv", "libsvtav1", {"options": {"g": "1", **SVT}}),
        ("webm", "libvpx", {"options": {"g": "1", "b:v": "2M", "auto-alt-ref": "0"}}),
        ("webm", "libvpx-vp9", {"options": {"g": "1", "b:v": "2M", "lag-in-frames": "0"}}),
    ],
)
def test_a_damaged_frame_is_one_event_and_the_file_goes_on(tmp_path, suffix, codec, options, damaged):
    if (suffix, codec, damaged) == ("avi", "libx264", 0):
        pytest.skip("FFmpeg does not open the file, because the damaged frame contains the settings of the decoder")
    path = clip(tmp_path / f"clip.{suffix}", codec, **options)
    data = bytearray(path.read_bytes())
    _, place, content = sorted(packets(path))[damaged]
    data[place : place + len(content)] = bytes(len(content))
    path.write_bytes(data)
    _, frames, images, events = read(path)
    assert [(event.kind, event.index) for event in events] == [("corrupt", damaged)]
    assert f"frame {damaged} of {path} is skipped: it " in events[0].detail
    expected = [number for number in range(COUNT) if number != damaged]
    assert [number_of(image) for image in images] == expected
    assert [frame.index for frame in frames] == expected
    assert [frame.time_ns / MS for frame in frames] == pytest.approx([100 * number for number in expected], abs=1)


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("mp4", "mjpeg", {"pix_fmt": "yuvj420p", "muxer": {"movflags": "faststart"}}),
        ("mp4", "libx264", {"options": {"g": "1", "bf": "0"}, "muxer": {"movflags": "faststart"}}),
        ("mkv", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("flv", "libx264", {"options": {"g": "1", "bf": "0"}}),
        ("mov", "prores_ks", {"pix_fmt": "yuv422p10le", "muxer": {"movflags": "faststart"}}),
    ],
)
def test_a_file_that_breaks_off_gives_its_frames_and_then_one_event(tmp_path, suffix, codec, options):
    data = clip(tmp_path / f"whole.{suffix}", codec, **options).read_bytes()
    path = tmp_path / f"cut.{suffix}"
    _, place, content = packets(tmp_path / f"whole.{suffix}")[7]
    path.write_bytes(data[: place + len(content) // 2])
    source, frames, images, events = read(path)
    assert 6 <= len(frames) <= 8
    assert [number_of(image) for image in images] == [frame.index for frame in frames]
    *corrupt, last = events
    assert last.kind == "truncated"
    assert last.detail.startswith(f"{path} ends early, after frame ")
    assert last.detail.endswith("the rest is missing, so copy or download it again")
    assert len(corrupt) <= 1
    assert source.read() is None


def test_a_fragmented_file_that_breaks_off_in_the_index_of_a_fragment(tmp_path):
    """FFmpeg does not open such a file, which a camera leaves behind when it loses power."""
    muxer, options = {"movflags": "frag_keyframe+empty_moov"}, {"g": "4", "bf": "0", "sc_threshold": "0"}
    data = clip(tmp_path / "whole.mp4", "libx264", muxer=muxer, options=options).read_bytes()
    starts = [place - 4 for place in range(len(data)) if data.startswith(b"moof", place)]
    path = tmp_path / "a [cut], or so.mp4"
    for fragment, start in enumerate(starts[1:], 1):
        for end in (start + 8, start + 30, start + 60, start + 100):
            path.write_bytes(data[:end])
            _, _, images, events = read(path)
            assert [number_of(image) for image in images] == list(range(4 * fragment))
            assert [event.kind for event in events] == ["truncated"]
            assert f"{path} ends early, after frame {4 * fragment - 1} " in events[0].detail


def test_a_header_may_state_too_few_frames(tmp_path):
    path = clip(tmp_path / "clip.avi", "mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, 3)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, 3)
    path.write_bytes(data)
    check_whole(path)


def test_a_header_may_state_too_many_frames(tmp_path):
    path = clip(tmp_path / "clip.avi", "mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.index(b"avih") + 8 + 16, 300)
    struct.pack_into("<I", data, data.index(b"strh") + 8 + 32, 300)
    path.write_bytes(data)
    _, frames, _, events = read(path)
    assert len(frames) == COUNT
    assert [event.kind for event in events] == ["truncated"]


def test_a_file_that_was_cut_in_the_middle_of_a_group_begins_with_one_event(tmp_path):
    path = clip(tmp_path / "clip.ts", "libx264", options={"g": "4", "bf": "0", "sc_threshold": "0"})
    with av.open(str(path)) as source, av.open(str(tmp_path / "cut.ts"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[2:]:
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    _, frames, images, events = read(tmp_path / "cut.ts")
    assert [number_of(image) for image in images] == list(range(4, COUNT))
    assert [event.kind for event in events] == ["corrupt"]
    assert events[0].detail == f"the first 2 frames of {tmp_path / 'cut.ts'} are skipped: they cannot be decoded"
    assert [frame.time_ns / MS for frame in frames] == pytest.approx([100 * n for n in range(2, 10)], abs=1)


def patched(path, *changes):
    """Write values into an MP4 file.

    Each change states the box, the offset in its content, a `struct` format and the values.
    """
    data = bytearray(path.read_bytes())
    for names, offset, layout, *values in changes:
        struct.pack_into(layout, data, box(data, *names) + offset, *values)
    path.write_bytes(data)
    return path


TURNS = [
    ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
    ((-1, 0, 0, 1), lambda image: image[:, ::-1]),
    ((1, 0, 0, -1), lambda image: image[::-1]),
]


@pytest.mark.parametrize(("matrix", "turn"), TURNS)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_turned_video_is_upright(tmp_path, codec, matrix, turn):
    a, b, c, d = (value << 16 for value in matrix)
    path = clip(tmp_path / "clip.mp4", codec)
    patched(path, ((b"moov", b"trak", b"tkhd"), 40, ">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))
    _, _, images, events = read(path)
    assert events == []
    for number, image in enumerate(images):
        expected = turn(picture(number))
        assert image.shape == expected.shape
        assert np.abs(image.astype(int) - expected).mean() < 8


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(2), (256, 64)), (Fraction(1, 2), (128, 128))])
def test_an_anamorphic_video_gets_square_pixels(tmp_path, aspect, size):
    def setup(stream):
        stream.codec_context.sample_aspect_ratio = aspect

    path = clip(tmp_path / "clip.mkv", "libx264", setup=setup)
    _, _, images, _ = read(path)
    assert {image.shape for image in images} == {(size[1], size[0], 3)}
    width = [int((image[32, :, 1] < 80).sum()) for image in images]
    assert width == pytest.approx([8 * (number + 1) * size[0] / WIDTH for number in range(COUNT)], abs=4)


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg2video", "ts"), ("libx264", "mp4"), ("mpeg2video", "mkv")])
def test_an_interlaced_video_is_deinterlaced(tmp_path, codec, suffix):
    """A bar moves by four pixels from field to field.

    If both fields are shown as one frame, its edge looks like a comb.
    """
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=128, height=64, format="yuv420p", time_base=Fraction(1, 25))]
    nodes += [graph.add("setfield", "tff"), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    path = tmp_path / f"clip.{suffix}"
    options = {"flags": "+ildct+ilme", "qmin": "2", "b": "8M", "x264-params": "interlaced=1:tff=1"}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for step in range(10):
            image = np.full((64, 128, 3), 20, np.uint8)
            for parity in (0, 1):
                image[parity::2, 8 * step + 4 * parity : 8 * step + 4 * parity + 24] = 230
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = step, Fraction(1, 25)
            graph.vpush(frame)
            file.mux(stream.encode(graph.vpull()))
        file.mux(stream.encode(None))
    _, frames, images, events = read(path)
    assert events == []
    assert [frame.time_ns / MS for frame in frames] == pytest.approx([40 * n for n in range(10)], abs=1)
    for image in images:
        middle = image[16:-16, :, 1].astype(int)
        assert np.abs(np.diff(middle, axis=0)).max() < 110


@pytest.mark.parametrize("matrix", [1, 5, 6, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("mkv", "ffv1"), ("mp4", "libx265")])
def test_colours_follow_the_tags_of_the_file(tmp_path, suffix, codec, matrix, full):
    names = {1: "bt709", 5: "bt601", 6: "smpte170m", 9: "bt2020"}
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=128, height=64, format="bgr24", time_base=Fraction(1, 25))]
    nodes.append(graph.add("scale", f"out_color_matrix={names[matrix]}:out_range={'full' if full else 'limited'}"))
    nodes += [graph.add("format", "pix_fmts=yuv444p"), graph.add("buffersink")]
    graph.link_nodes(*nodes).configure()
    colours = [(30, 160, 40), (200, 60, 40), (40, 60, 200), (128, 128, 128)]
    image = np.repeat(np.repeat(np.array([colours], np.uint8), 32, axis=1), 64, axis=0)
    path = tmp_path / f"clip.{suffix}"
    options = {"libx265": {"x265-params": "log-level=none", "crf": "4"}, "libx264": {"crf": "4"}, "ffv1": {}}
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=25, options=options[codec])
        stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for number in range(3):
            graph.vpush(av.VideoFrame.from_ndarray(image, format="bgr24"))
            frame = graph.vpull()
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    _, _, images, events = read(path)
    assert events == []
    assert len(images) == 3
    for shown in images:
        assert np.abs(shown[32, 16::32].astype(int) - colours).max() <= 8


def test_the_size_may_change_in_mid_stream(tmp_path):
    parts = [clip(tmp_path / f"{n}.ts", "libx264", size=size) for n, size in enumerate([(128, 64), (160, 96)])]
    (tmp_path / "clip.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    _, _, images, events = read(tmp_path / "clip.ts")
    assert events == []
    assert [image.shape for image in images] == COUNT * [(64, 128, 3)] + COUNT * [(96, 160, 3)]
    assert [number_of(image) for image in images] == 2 * list(range(COUNT))


def test_numbered_images_are_a_video(tmp_path):
    for number in range(COUNT):
        cv2.imwrite(str(tmp_path / f"frame{number:04d}.png"), picture(number))
    check_whole(tmp_path / "frame%04d.png", rate=25)


def test_of_several_videos_the_default_one_is_read_and_a_cover_is_not_a_video(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        cover = file.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 300, 300, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic.value
        stream = file.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((300, 300, 3), np.uint8), format="rgb24")
        image.pts = 0
        file.mux(cover.encode(image))
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            file.mux(stream.encode(frame))
        file.mux(cover.encode(None) + stream.encode(None))
    check_whole(path)


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_of_several_videos_alike_the_largest_one_is_read(tmp_path, suffix):
    """A playlist with several qualities, and a recording with a preview, contain several streams."""
    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w") as file:
        streams = [file.add_stream("libx264", rate=RATE, options={"bf": "0"}) for _ in range(3)]
        for stream, (width, height) in zip(streams, [(64, 32), (WIDTH, HEIGHT), (96, 48)], strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(COUNT):
            frame = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            for stream in streams:
                scaled = frame.reformat(stream.width, stream.height, format="yuv420p")
                scaled.pts, scaled.time_base = number, Fraction(1, RATE)
                file.mux(stream.encode(scaled))
        for stream in streams:
            file.mux(stream.encode(None))
    check_whole(path)


def audio(container, codec="aac"):
    stream = container.add_stream(codec, rate=44100)
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
    frame.sample_rate, frame.pts = 44100, 0
    return stream, frame


def test_a_video_with_sound_that_is_longer(tmp_path):
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream, frame = audio(file)
        encode(file, "libx264")
        for part in range(60):
            frame.pts = 4096 * part
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    check_whole(path)


def test_names_and_metadata_of_any_kind(tmp_path):
    for name in ("a:b.mp4", "100%.mp4", "%d.mp4", "-x.mp4", "a b#c?d.mp4", "g\u00fcte.mp4"):
        clip(tmp_path / "clip.mp4", "libx264").rename(tmp_path / name)
        check_whole(tmp_path / name)
    path = tmp_path / "latin.mkv"
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "XXXX"
        encode(file, "libx264")
    path.write_bytes(path.read_bytes().replace(b"XXXX", b"\xfc\xe4\xf6\xff"))
    check_whole(path)


def refused(path):
    """Return the message with which a file is rejected, without its name."""
    with pytest.raises(SourceError) as caught:
        read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path)), text
    return text.removeprefix(str(path)).replace(str(path), "FILE")


HEADS = [
    ("clip.mp4", b"", " is empty"),
    ("clip.mp4", b"<!DOCTYPE html><html>", " is an HTML page, not a video: download the video itself"),
    ("clip.mp4", b"\xef\xbb\xbf \n<HTML>", " is an HTML page, not a video: download the video itself"),
    (
        "clip.mp4",
        b"version https://git-lfs.github.com/spec/v1\n",
        " is a pointer of Git LFS, not a video: run git lfs pull",
    ),
    (
        "clip.m3u8",
        b"#EXTM3U\n#EXTINF:2\nhttp://a/b.ts\n",
        " is a playlist, not a video: give the address of the stream",
    ),
    ("clip.mp4", b"%PDF-1.7\n", " is a PDF document, not a video"),
    ("clip.mp4", b"PK\x03\x04" + bytes(60), " is a ZIP archive, not a video: unpack it"),
    ("notes.txt", b"hello\n" * 99, " is a text file, not a video"),
    ("clip.mp4", b"hello" * 99, " is not a video, or is damaged: Invalid data found when processing input"),
    ("clip.mp4", bytes(5000), " is not a video, or is damaged: Invalid data found when processing input"),
    (
        "clip.yuv",
        bytes(5000),
        " is raw video without a header: convert it, for example with ffmpeg -f rawvideo -pix_fmt yuv420p "
        "-video_size 640x480 -framerate 30 -i FILE out.mp4",
    ),
]


@pytest.mark.parametrize(("name", "content", "message"), HEADS)
def test_files_that_are_no_videos(tmp_path, name, content, message, capfd):
    (tmp_path / name).write_bytes(content)
    assert refused(tmp_path / name) == message
    assert capfd.readouterr().err == ""


def test_a_recording_without_an_index(tmp_path):
    data = clip(tmp_path / "whole.mp4", "libx264").read_bytes()
    place = data.index(b"moov") - 4
    (tmp_path / "clip.mp4").write_bytes(data[:place])
    assert refused(tmp_path / "clip.mp4") == (
        " has no index (`moov`): the recording was not finished, or repair it with a tool such as untrunc"
    )
    (tmp_path / "clip.mp4").write_bytes(data[: place - 200])
    assert refused(tmp_path / "clip.mp4") == (
        " has no index (`moov`): the end of the file is missing, so copy or download it again, or repair it with a "
        "tool such as untrunc"
    )


def test_a_codec_that_is_unknown_is_named(tmp_path):
    path = clip(tmp_path / "clip.mp4", "libx264")
    patched(path, (STSD, 12, ">4s", b"xyz1"))
    assert refused(path) == (
        " is coded as none (xyz1 / 0x317A7978), which PyAV cannot decode: convert it, for example with ffmpeg -i FILE "
        "-c:v libx264 -pix_fmt yuv420p clip-h264.mp4"
    )


@pytest.mark.parametrize("scheme", ["", "cenc-aes-ctr"])
def test_an_encrypted_file(tmp_path, scheme):
    key = {"encryption_scheme": scheme, "encryption_key": "00" * 16, "encryption_kid": "11" * 16} if scheme else {}
    path = clip(tmp_path / "clip.mp4", "libx264", muxer=key)
    if not scheme:
        patched(path, (STSD, 12, ">4s", b"encv"))
    assert refused(path) == " is encrypted (DRM), so it cannot be decoded: use a file without copy protection"


@pytest.mark.parametrize("cover", [False, True])
def test_a_file_with_only_audio(tmp_path, cover):
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as file:
        stream, frame = audio(file)
        if cover:
            picture_stream = file.add_stream("png", rate=1)
            picture_stream.width, picture_stream.height, picture_stream.pix_fmt = 64, 64, "rgb24"
            picture_stream.disposition = av.stream.Disposition.attached_pic.value
            image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            image.pts = 0
            file.mux(picture_stream.encode(image) + picture_stream.encode(None))
        file.mux(stream.encode(frame) + stream.encode(None))
    assert refused(path) == " has no video: it contains only audio (aac)" + " and a cover picture" * cover


def test_a_file_without_frames(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as file:
        stream = file.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        file.start_encoding()
    message = " contains no frames: the file was cut off, or the recording was not finished"
    assert refused(tmp_path / "clip.mkv") == message


def test_a_missing_numbered_image(tmp_path):
    with pytest.raises(SourceError, match=r"no images named .*frame%03d\.png"):
        read(tmp_path / "frame%03d.png")


def test_a_file_of_which_nothing_can_be_decoded(tmp_path):
    path = clip(tmp_path / "clip.mkv", "mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    for _, place, content in packets(path):
        data[place : place + len(content)] = bytes(len(content))
    path.write_bytes(data)
    _, frames, _, events = read(path)
    assert frames == []
    assert [event.kind for event in events] == COUNT * ["corrupt"]


def test_an_image_of_an_animation_without_a_duration_is_shown_for_100_ms(tmp_path):
    first, *others = (Image.fromarray(picture(number)[..., ::-1]) for number in range(3))
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=[0, 40, 0], lossless=True)
    source, frames, images, events = read(tmp_path / "a.webp")
    assert ([number_of(image) for image in images], events) == ([0, 1, 2], [])
    assert [frame.time_ns // MS for frame in frames] == [0, 100, 140]
    assert source.rate_hz == pytest.approx(3 / 0.24)


def test_a_damaged_animation(tmp_path):
    path = clip(tmp_path / "clip.webp", "libwebp_anim", container="webp")
    path.write_bytes(path.read_bytes()[:60])
    assert refused(path) == " is an animated WebP image, but it is damaged: copy or download it again"


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "whole"), [("solidWhiteRight.mp4", 221), ("car-detection.mp4", 377)])
@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_real_videos(tmp_path, data_root, name, whole, share, capfd):
    """In both files, the first half contains the index."""
    data = (data_root / "video" / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(share * len(data))])
    source = open_source(tmp_path / name)
    items = [getattr(item, "kind", item.index) for item in iter(source.read, None)]
    source.close()
    assert capfd.readouterr().err == ""
    frames = [item for item in items if isinstance(item, int)]
    if share == 1.0:
        assert items == list(range(whole))
    else:
        assert 0.1 * whole < len(frames) < whole
        assert items[-1] == "truncated"


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {"options": {"bf": "0"}}),
        ("mp4", "libx264", {"options": {"bf": "2"}}),
        ("webm", "libvpx-vp9", {"options": {"b:v": "1M", "lag-in-frames": "0"}}),
        ("mp4", "mpeg4", {}),
        ("mkv", "mpeg2video", {"rate": 25}),
    ],
)
def test_a_damaged_frame_to_which_others_refer(tmp_path, suffix, codec, options):
    path = clip(tmp_path / f"clip.{suffix}", codec, **options)
    data = bytearray(path.read_bytes())
    _, place, content = sorted(packets(path))[5]
    data[place : place + len(content)] = bytes(len(content))
    path.write_bytes(data)
    _, frames, _, events = read(path)
    assert [event.kind for event in events] == ["corrupt"]
    assert len(frames) == COUNT - 1


def test_a_damaged_frame_without_which_others_cannot_be_decoded(tmp_path):
    """HEVC's decoder drops frames that refer to a missing frame. Each is reported, until the next keyframe."""
    options = {"g": "8", "x265-params": "log-level=none:bframes=0:keyint=8:min-keyint=8:scenecut=0"}
    path = clip(tmp_path / "clip.mp4", "libx265", options=options)
    data = bytearray(path.read_bytes())
    _, place, content = sorted(packets(path))[5]
    data[place : place + len(content)] = bytes(len(content))
    path.write_bytes(data)
    _, frames, images, events = read(path)
    assert [(event.kind, event.index) for event in events] == [("corrupt", 5), ("corrupt", 6), ("corrupt", 7)]
    assert [number_of(image) for image in images] == [frame.index for frame in frames] == [0, 1, 2, 3, 4, 8, 9, 10, 11]


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_jpegs_with_exif_data_in_a_video_are_rotated(tmp_path, orientation, turns):
    """PyAV does not know the type of the side data in which FFmpeg returns EXIF data."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[274], exif[271] = orientation, "Camera"
    Image.fromarray(picture(3)[..., ::-1]).save(file, "JPEG", exif=exif, quality=95)
    (tmp_path / "clip.mjpeg").write_bytes(3 * file.getvalue())
    _, frames, images, events = read(tmp_path / "clip.mjpeg")
    assert events == []
    assert len(frames) == 3
    assert np.abs(images[0].astype(int) - np.rot90(picture(3), turns).astype(int)).mean() < 3


@pytest.mark.parametrize("suffix", ["avi", "mkv", "mov", "mjpeg"])
def test_a_damaged_jpeg_in_a_video(tmp_path, suffix):
    """FFmpeg's decoder returns the image with shifted or grey parts, without an error."""
    path = clip(tmp_path / f"clip.{suffix}", "mjpeg", pix_fmt="yuvj420p", rate=25, size=(640, 480))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as file:
        content = bytes(list(file.demux(video=0))[5])
    place = data.index(content) + len(content) // 2
    data[place : place + 200] = bytes(range(200))
    path.write_bytes(data)
    _, frames, images, events = read(path)
    assert [(event.kind, event.index) for event in events] == [("corrupt", 5)]
    assert "it is damaged" in events[0].detail
    assert [number_of(image) for image in images] == [frame.index for frame in frames] == [*range(5), *range(6, COUNT)]


def test_memory_is_reused_without_waiting_for_the_garbage_collector(tmp_path):
    """PyAV's side data refers to its frame. Reading it for every frame would keep the memory of all frames."""
    path = clip(tmp_path / "clip.mp4", "libx264", options={"bf": "0"})
    source = open_source(path)
    gc.disable()
    try:
        addresses = {source.read().image.ctypes.data for _ in range(COUNT)}
    finally:
        gc.enable()
        source.close()
    assert len(addresses) <= 3


@pytest.mark.parametrize(
    ("suffix", "codec", "options"), [FORMATS[0], FORMATS[8], FORMATS[17], FORMATS[18], FORMATS[24]]
)
def test_several_threads_decode(tmp_path, monkeypatch, suffix, codec, options):
    monkeypatch.setattr(video_container, "available_cores", lambda: 8)
    check_whole(clip(tmp_path / f"clip.{suffix}", codec, **options))


@pytest.mark.parametrize(("suffix", "codec", "options"), [("mp4", "libx264", {}), ("avi", "mpeg4", {})])
def test_several_threads_find_the_damaged_frame(tmp_path, monkeypatch, suffix, codec, options):
    monkeypatch.setattr(video_container, "available_cores", lambda: 8)
    path = clip(tmp_path / f"clip.{suffix}", codec, options={"g": "1"})
    data = bytearray(path.read_bytes())
    _, place, content = sorted(packets(path))[2]
    data[place : place + len(content)] = bytes(len(content))
    path.write_bytes(data)
    _, frames, images, events = read(path)
    assert [(event.kind, event.index) for event in events] == [("corrupt", 2)]
    assert [number_of(image) for image in images] == [frame.index for frame in frames] == [0, 1, *range(3, COUNT)]

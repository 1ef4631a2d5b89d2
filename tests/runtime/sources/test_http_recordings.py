"""Recordings at HTTP addresses: playlists with missing parts, and videos without a stated length."""

import itertools
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import numpy as np
import pytest

from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources import live_video
from orilla.runtime.sources.network import open_stream
from orilla.runtime.sources.pace import Pace
from orilla.runtime.sources.time_limit import TimeLimits

LIMITS = TimeLimits(open_s=4, read_s=2, first_wait_s=0.02)
RATE, PART_FRAMES, PARTS = 10, 20, 4
"""Frames per second, number of frames in each part of a playlist, and number of parts."""


def encode(path, count, *, codec="libx264", muxer=(), rate=RATE):
    """Write a video whose frame `n` has the luma `2 * n + 30`."""
    options = (
        {"bf": "0", "g": str(PART_FRAMES), "qp": "0", "tune": "zerolatency"} if codec == "libx264" else {"qscale": "1"}
    )
    with av.open(str(path), "w", options=dict(muxer)) as file:
        stream = file.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(count):
            planes = np.full((72, 64), 128, np.uint8)
            planes[:48] = 2 * number + 30
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, rate)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def numbers(frames):
    return [round((float(frame.image.mean()) * 219 / 255 + 16 - 30) / 2) for frame in frames]


@contextmanager
def serving(reply):
    """Run a server that answers each request with `reply(handler)`, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            try:
                reply(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *message):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def read(url):
    """Return the source, its frames and its events."""
    source, frames, events = open_stream(url, LIMITS), [], []
    try:
        while (item := source.read()) is not None:
            (frames if isinstance(item, Frame) else events).append(item)
    finally:
        source.close()
    return source, frames, events


@pytest.fixture(scope="module")
def playlist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hls")
    seconds = PART_FRAMES / RATE
    muxer = {"hls_time": str(seconds), "hls_list_size": "0", "hls_segment_filename": str(folder / "part%d.ts")}
    encode(folder / "video.m3u8", PARTS * PART_FRAMES, muxer=muxer)
    assert len(list(folder.glob("part*.ts"))) == PARTS
    return folder


def files(folder, missing=()):
    def reply(request):
        name = request.path.strip("/")
        if name in missing:
            request.send_error(404)
            return
        data = (folder / name).read_bytes()
        request.send_response(200)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        request.wfile.write(data)

    return reply


def test_a_whole_playlist_has_all_frames(playlist):
    with serving(files(playlist)) as address:
        source, frames, events = read(f"{address}/video.m3u8")
    assert not source.live
    assert events == []
    assert numbers(frames) == [frame.index for frame in frames] == list(range(PARTS * PART_FRAMES))


@pytest.mark.parametrize("missing", [[1], [2], [1, 2]])
def test_missing_parts_of_a_playlist_are_one_event_with_the_number_of_frames(playlist, missing):
    with serving(files(playlist, [f"part{part}.ts" for part in missing])) as address:
        _, frames, events = read(f"{address}/video.m3u8")
    kept = [n for n in range(PARTS * PART_FRAMES) if n // PART_FRAMES not in missing]
    assert numbers(frames) == [frame.index for frame in frames] == kept
    assert [frame.time_ns for frame in frames] == pytest.approx([n * 1e9 / RATE for n in kept], abs=1e6)
    assert [(event.kind, event.index) for event in events] == [("corrupt", missing[0] * PART_FRAMES)]
    count = len(missing) * PART_FRAMES
    assert f"about {count} frames of {address}/video.m3u8 missing ({(count + 1) / RATE:.2f} s)" in events[0].detail


def test_missing_parts_at_the_end_of_a_playlist_are_reported(playlist):
    with serving(files(playlist, ["part3.ts"])) as address:
        _, frames, events = read(f"{address}/video.m3u8")
    assert numbers(frames) == list(range(3 * PART_FRAMES))
    assert [event.kind for event in events] == ["truncated"]
    assert "at 6.00 s of 8.00 s" in events[0].detail


def test_a_missing_part_of_a_live_playlist_is_one_event(playlist, monkeypatch):
    """Every 0.4 s, the server adds a part. The second one is never sent."""
    monkeypatch.setattr(live_video, "MAX_SKIP_S", 0)
    began = time.monotonic()

    def reply(request):
        if request.path != "/live.m3u8":
            files(playlist, ["part1.ts"])(request)
            return
        parts = min(PARTS, 2 + int((time.monotonic() - began) / 0.4))
        seconds = PART_FRAMES / RATE
        text = f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{seconds:.0f}\n#EXT-X-MEDIA-SEQUENCE:0\n"
        text += "".join(f"#EXTINF:{seconds},\npart{part}.ts\n" for part in range(parts))
        request.send_response(200)
        request.send_header("Content-Type", "application/vnd.apple.mpegurl")
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text.encode())

    with serving(reply) as address:
        source, found = open_stream(f"{address}/live.m3u8", TimeLimits(open_s=4, read_s=6)), []
        try:
            while sum(isinstance(item, Frame) for item in found) < 5 or not any(
                item.kind == "corrupt" for item in found if isinstance(item, Event)
            ):
                found.append(source.read())
                assert time.monotonic() - began < 20
        finally:
            source.close()
    assert source.live
    event = next(item for item in found if isinstance(item, Event) and item.kind == "corrupt")
    assert "about 20 frames of " in event.detail
    indices = [item.index for item in found if isinstance(item, Frame)]
    assert event.index not in indices
    assert all(later > earlier for earlier, later in itertools.pairwise(indices))


def sent(data, *, chunked, pieces=1, wait_s=0.0):
    """Return a reply without `Content-Length`, in pieces."""

    def reply(request):
        request.protocol_version = "HTTP/1.1"
        request.send_response(200)
        request.send_header("Content-Type", "video/mp2t")
        request.send_header("Connection", "close")
        if chunked:
            request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        size = -(-len(data) // pieces)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            request.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n" if chunked else piece)
            time.sleep(wait_s)
        request.wfile.write(b"0\r\n\r\n" if chunked else b"")
        request.close_connection = True

    return reply


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.ts", "libx264"),
        ("clip.mkv", "libx264"),
        ("clip.flv", "libx264"),
        ("clip.h264", "libx264"),
        ("clip.avi", "mjpeg"),
    ],
)
def test_a_recording_without_a_length_is_read_once(tmp_path, name, codec, chunked):
    rate = 25 if name == "clip.h264" else RATE
    data = encode(tmp_path / name, 100, codec=codec, rate=rate).read_bytes()
    with serving(sent(data, chunked=chunked)) as address:
        source, frames, events = read(f"{address}/{name}")
    assert not source.live
    assert events == []
    assert numbers(frames) == [frame.index for frame in frames] == list(range(100))
    assert [frame.time_ns for frame in frames] == pytest.approx([n * 1e9 / rate for n in range(100)], abs=2e6)


def test_a_live_stream_without_a_length_is_opened_again_when_it_ends(tmp_path):
    """The server sends 4 s of video in 4 s, and then closes the connection."""
    data = encode(tmp_path / "clip.ts", 40).read_bytes()
    with serving(sent(data, chunked=True, pieces=40, wait_s=0.1)) as address:
        source = open_stream(f"{address}/live", LIMITS)
        kinds = []
        try:
            while "lost" not in kinds:
                item = source.read()
                assert item is not None
                kinds.append(item.kind if isinstance(item, Event) else "frame")
        finally:
            source.close()
    assert source.live
    assert kinds.count("frame") >= 20


def test_a_recording_that_is_cut_is_not_silent(tmp_path):
    """The server closes the connection in the middle of a chunk."""
    data = encode(tmp_path / "clip.ts", 100).read_bytes()

    def reply(request):
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"%x\r\n" % len(data) + data[: len(data) // 2])

    with serving(reply) as address:
        source, frames, events = read(f"{address}/clip.ts")
    assert not source.live
    assert numbers(frames) == list(range(len(frames)))
    assert 30 <= len(frames) < 70
    assert [event.kind for event in events] == ["truncated"]


@pytest.mark.parametrize(
    ("pace", "burst_s", "expected"), [(1, 0, False), (1, 8, False), (2, 0, True), (1.02, 0, False), (50, 0, True)]
)
def test_the_pace_of_a_recording_is_faster_than_the_clock(pace, burst_s, expected):
    judge, verdicts = Pace(0), []
    for number in range(1, 500):
        at_ns = int(number * 1e9 / 25)
        verdicts.append(judge.is_recording(pace * at_ns + burst_s * 1e9 * (number > 1), at_ns))
    assert next(verdict for verdict in verdicts if verdict is not None) is expected

"""Live video through PyAV, from real servers on this machine: time stamps, damaged frames, and causes of errors."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import factories

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.scenes import clock
from orilla.runtime.sources.keyframe_parts import KeyframeParts
from orilla.runtime.sources.network import open_stream
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.time_limit import TimeLimits

LIMITS = TimeLimits(open_s=2, read_s=1, first_wait_s=0.02)
PATIENCE_S = 20.0
SERVERS = Path(__file__).parents[2] / "helpers" / "live_servers.py"


@contextmanager
def serving(kind, rate_hz):
    command = [sys.executable, str(SERVERS), kind, str(rate_hz)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


@contextmanager
def opened(url):
    source = open_stream(url, LIMITS)
    try:
        yield source
    finally:
        source.close()


def items(source, count, until=lambda item: False):
    """Return the next frames and events except `waiting`, up to a number or up to one that matches."""
    found, end = [], time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < end, found
        item = source.read()
        if isinstance(item, Frame) or item.kind != "waiting":
            found.append(item)
            if until(item):
                break
    return found


@pytest.mark.parametrize("kind", ["tcp-mjpeg", "udp-mpegts", "tcp-h264", "http-mjpeg-stamped", "http-snapshot"])
def test_ages_are_true(kind):
    """The demuxers of MPEG-TS and H.264 return a frame one or two periods late. This delay is part of its age."""
    errors = []
    with serving(kind, 10) as url, opened(url) as source:
        for frame in items(source, 25):
            assert isinstance(frame, Frame), frame
            drawn = clock.read(frame.image)
            if drawn is not None:
                now_ns = time.monotonic_ns()
                errors.append(clock.since_ms(drawn, now_ns) - (now_ns - frame.captured_ns) / 1e6)
    assert len(errors) > 15
    assert np.median(np.abs(errors)) < 50, "a frame that is a period late would be wrong by 100 ms"


def test_images_over_tcp_without_times_are_stamped_when_they_arrive():
    """`rpicam-vid --codec mjpeg --listen` sends such a stream.

    FFmpeg would assign time stamps at 25 frames per second.
    """
    with serving("tcp-mjpeg", 10) as url, opened(url) as source:
        frames = items(source, 20)
    assert all(isinstance(frame, Frame) for frame in frames)
    gaps = np.diff([frame.captured_ns for frame in frames]) / 1e6
    assert 95 < gaps.mean() < 105


def mpegts(path, count=60, gop=10):
    """Write a stream of frames with rising brightness."""
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.gop_size = gop
        rng = np.random.default_rng(0)
        for number in range(count):
            image = rng.integers(0, 255, (240, 320, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


@contextmanager
def sending(data, drop=()):
    """Send data as datagrams over three seconds, repeatedly. Drop the datagrams with the indices `drop`."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over = threading.Event()
    datagrams = [data[start : start + 1316] for start in range(0, len(data), 1316)]

    def send():
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            while not over.is_set():
                started = time.monotonic()
                for number, datagram in enumerate(datagrams):
                    over.wait(max(0.0, started + 3 * number / len(datagrams) - time.monotonic()))
                    if number not in drop:
                        client.sendto(datagram, ("127.0.0.1", port))

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield f"udp://127.0.0.1:{port}"
    over.set()
    thread.join()


def test_lost_packets_are_damaged_frames_and_not_a_lost_camera(tmp_path):
    data = mpegts(tmp_path / "clip.ts")
    count = len(data) // 1316
    with sending(data, drop=(count // 2, 3 * count // 4)) as url, opened(url) as source:
        found = items(source, 150)
    kinds = [item.kind for item in found if isinstance(item, Event)]
    assert "corrupt" in kinds
    assert "lost" not in kinds
    frames = [item for item in found if isinstance(item, Frame)]
    assert len(frames) > 100
    assert all(late.captured_ns >= early.captured_ns for early, late in pairwise(frames))
    numbers = [item.index for item in found if isinstance(item, Frame) or item.kind == "corrupt"]
    assert numbers == list(range(len(numbers))), "damaged frames have numbers too"


def test_a_stream_whose_sender_ends_is_lost_and_found_again(tmp_path):
    data = mpegts(tmp_path / "clip.ts")
    with sending(data) as url, opened(url) as source:
        assert isinstance(items(source, 1)[0], Frame)
    with socket.socket(type=socket.SOCK_DGRAM) as again:
        again.bind(("127.0.0.1", int(url.rpartition(":")[2])))


def test_a_source_of_datagrams_that_are_not_a_video_is_refused():
    with sending(b"hello" * 10_000) as url, pytest.raises(SourceError, match="not a video") as caught:
        open_stream(url, LIMITS)
    assert "\n" not in str(caught.value)


@contextmanager
def answering(answer):
    """Accept TCP connections, and send `answer` to each request, or never answer if it is None."""
    over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            if answer is None:
                over.wait(PATIENCE_S)
            else:
                while request := client.recv(4096).decode():
                    number = next(line for line in request.splitlines() if line.startswith("CSeq"))
                    client.sendall(answer.replace("CSEQ", number).encode())
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    yield server.getsockname()[1]
    over.set()
    server.close()


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        ('RTSP/1.0 401 Unauthorized\r\nCSEQ\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n', "401 Unauthorized: put"),
        ("RTSP/1.0 404 Not Found\r\nCSEQ\r\n\r\n", "404 Not Found: check the path"),
        ("RTSP/1.0 403 Forbidden\r\nCSEQ\r\n\r\n", "403 Forbidden"),
        (None, "no response within 2 s"),
    ],
)
def test_a_stream_that_cannot_be_opened_is_refused_with_the_cause(answer, match):
    with answering(answer) as port, pytest.raises(SourceError, match=match) as caught:
        open_stream(f"rtsp://robot:secret@127.0.0.1:{port}/camera", LIMITS)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("rtsp://no-such-host.invalid/x", "unknown host no-such-host.invalid"),
        ("tcp://no-such-host.invalid:1", "unknown host no-such-host.invalid"),
        ("http://no-such-host.invalid/x", "no video at http://no-such-host.invalid/x: "),
        ("rtmp://127.0.0.1:9/x", "Connection refused"),
        ("tcp://127.0.0.1:9", "Connection refused"),
    ],
)
def test_an_address_that_cannot_be_reached_is_refused_with_the_cause(url, match):
    with pytest.raises(SourceError, match=match) as caught:
        open_stream(url, LIMITS)
    assert "\n" not in str(caught.value)


def test_a_protocol_that_is_missing_is_named():
    with pytest.raises(SourceError, match=r"no SRT|Connection refused|no answer"):
        open_stream("srt://127.0.0.1:9", LIMITS)


def test_a_rate_of_requests_is_refused_for_a_video(tmp_path):
    with sending(mpegts(tmp_path / "clip.ts", 10)) as url, pytest.raises(ConfigError, match="only for addresses of"):
        open_source(f"{url}#rate=5")


def packet(pts, data, *, key=False):
    part = av.Packet(data)
    part.pts, part.is_keyframe, part.time_base = pts, key, Fraction(1, 25)
    return part


def joined(packets):
    parts = KeyframeParts()
    return [bytes(whole) for part in packets for whole in parts.push(part)]


GROUP = [(0, b"a", True), (0, b"b", True), (1, b"c", False), (2, b"d", False)]
"""A keyframe of two parts and two other frames: presentation time, data, and True for a keyframe."""


def test_the_parts_of_a_keyframe_are_joined():
    packets = [packet(3 * number + pts, data, key=key) for number in range(4) for pts, data, key in GROUP]
    assert joined(packets) == [b"ab", b"c", b"d"] * 4
    parts = KeyframeParts()
    counts = [len(parts.push(part)) for part in packets]
    assert counts[8:] == [0, 1, 1, 1] * 2, "no frame waits once the number of parts is known"


def test_keyframes_of_one_part_do_not_wait():
    packets = [packet(number, b"%d" % number, key=number % 3 == 0) for number in range(12)]
    parts = KeyframeParts()
    counts = [len(parts.push(part)) for part in packets]
    assert counts == [0, 2, 1, 0, 2, 1, 1, 1, 1, 1, 1, 1]
    assert joined(packets) == [b"%d" % number for number in range(12)]


def test_a_stream_that_begins_within_a_keyframe_is_right_from_the_next_one_on():
    packets = [packet(3 * number + pts, data, key=key) for number in range(4) for pts, data, key in GROUP]
    assert joined(packets[1:]) == [b"b", b"c", b"d", *([b"ab", b"c", b"d"] * 3)]


def test_a_keyframe_with_more_parts_than_before_is_damaged_once():
    packets = [packet(number, b"x", key=number % 2 == 0) for number in range(6)]
    later = [packet(9 + 3 * number + pts, data, key=key) for number in range(3) for pts, data, key in GROUP]
    assert joined(packets + later) == [b"x"] * 6 + [b"a", b"b", b"c", b"d", *([b"ab", b"c", b"d"] * 2)]


def test_keyframes_alone():
    packets = [packet(number // 2, b"%d" % number, key=True) for number in range(8)]
    assert joined(packets) == [b"01", b"23", b"45", b"67"]


def test_the_time_of_a_byte_is_that_of_its_arrival(monkeypatch):
    now = iter(range(100, 200))
    monkeypatch.setattr("orilla.runtime.sources.received_bytes.now_ns", lambda: next(now))
    pieces = [b"abc", b"defg", b""]
    received = ReceivedBytes(lambda: pieces.pop(0), lambda: None)
    assert received.peek() == b"abc"
    assert [received.read(2), received.read(2), received.read(9), received.read(9)] == [b"ab", b"c", b"defg", b""]
    assert [received.arrived_ns(position) for position in (0, 2, 3, 6)] == [100, 100, 101, 101]


def test_a_stream_of_files_is_read(tmp_path):
    """HLS of a recording, and MPEG-TS over HTTP without a length."""
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    (tmp_path / "a.ts").write_bytes(mpegts(tmp_path / "clip.ts", 50))
    (tmp_path / "dash.mpd").write_text('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>')
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n")
    factories.video(tmp_path / "clip.avi", 12)

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def do_GET(self):
            if self.path != "/live":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "video/mp2t")
            self.end_headers()
            data = (tmp_path / "a.ts").read_bytes()
            for start in range(0, len(data), 20_000):
                self.wfile.write(data[start : start + 20_000])
                time.sleep(0.02)

        def log_message(self, *message):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        recorded = open_source(f"{address}/list.m3u8")
        assert not recorded.live
        assert sum(isinstance(item, Frame) for item in iter(recorded.read, None)) == 50
        with pytest.raises(SourceError, match="cannot read DASH"):
            open_source(f"{address}/dash.mpd")
        with opened(f"{address}/live") as source:
            assert source.live
            assert isinstance(items(source, 20)[-1], Frame | Event)
    finally:
        server.shutdown()
        server.server_close()

"""HTTP cameras with unusual replies: single images, digest authentication, chunks, and no HTTP headers at all."""

import hashlib
import socket
import ssl
import threading
import time
import urllib.request
import zlib
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest
from helpers import factories
from helpers.certificates import make_certificates

from orilla.devices.errors import ConfigError, SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.sources import snapshot
from orilla.runtime.sources.http_polling import Reply
from orilla.runtime.sources.http_source import Remote, open_http
from orilla.runtime.sources.mjpeg import MotionJpeg
from orilla.runtime.sources.multipart import Part
from orilla.runtime.sources.network import open_stream
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.snapshot import Clock, Snapshots
from orilla.runtime.sources.time_limit import TimeLimits

LIMITS = TimeLimits(open_s=2, read_s=0.8, first_wait_s=0.02)
PATIENCE_S = 20.0
JPEGS = [cv2.imencode(".jpg", factories.picture(48, 64, seed))[1].tobytes() for seed in range(5)]


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the server's function `reply`."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((time.monotonic(), self.client_address, dict(self.headers), self.path))
        try:
            self.server.reply(self)
        except OSError:
            self.close_connection = True

    def send(self, status, body=b"", **fields):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **fields}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *message):
        pass


@contextmanager
def serving(reply):
    """Run a server, and yield it with its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.reply, server.requests = True, reply, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@contextmanager
def opened(url):
    source = open_stream(url, LIMITS)
    try:
        yield source
    finally:
        source.close()


def items(source, count, kinds=("lost", "back", "corrupt", "time")):
    """Return the next frames and events of these kinds."""
    found, end = [], time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < end, found
        item = source.read()
        if isinstance(item, Frame) or item.kind in kinds:
            found.append(item)
    return found


def test_single_images_are_requested_at_the_stated_rate_over_one_connection():
    def reply(request):
        request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type="image/jpeg")

    with serving(reply) as server, opened(f"{server.address}/snapshot.jpg?size=1#rate=20") as source:
        assert source.live
        assert source.rate_hz == 20
        frames = items(source, 10)
        assert [frame.index for frame in frames] == list(range(10))
        assert frames[0].image.shape == (48, 64, 3)
        times, clients, _, paths = zip(*server.requests, strict=True)
        assert times[9] - times[1] > 0.3
        assert len(set(clients)) == 2, "the first request finds out what the address is"
        assert set(paths) == {"/snapshot.jpg?size=1"}
        assert all(0 <= time.monotonic_ns() - frame.captured_ns < 20e9 for frame in frames)


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain"])
def test_images_without_their_type_are_requested_like_others(kind):
    def reply(request):
        request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type=kind)

    with serving(reply) as server, opened(f"{server.address}/capture#rate=50") as source:
        found = items(source, 5)
        assert all(isinstance(item, Frame) for item in found)


def test_an_image_that_has_not_changed_is_not_a_new_frame():
    def reply(request):
        number = len(request.server.requests) // 4
        if request.headers["If-None-Match"] == f'"{number}"':
            request.send(304)
        else:
            request.send(200, JPEGS[number % 5], Content_Type="image/jpeg", ETag=f'"{number}"')

    with serving(reply) as server, opened(f"{server.address}/#rate=100") as source:
        assert len(items(source, 4)) == 4
        assert 12 <= len(server.requests) <= 17


def test_the_same_bytes_are_not_a_new_frame():
    def reply(request):
        request.send(200, JPEGS[len(request.server.requests) // 3 % 5], Content_Type="image/jpeg")

    with serving(reply) as server, opened(f"{server.address}/#rate=100") as source:
        assert len(items(source, 4)) == 4
        assert 9 <= len(server.requests) <= 12


def test_a_camera_that_closes_the_connection_after_each_image():
    def reply(request):
        request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type="image/jpeg", Connection="close")

    with serving(reply) as server, opened(f"{server.address}/#rate=100") as source:
        assert [item.index for item in items(source, 5)] == list(range(5))


def test_a_busy_camera_is_asked_later():
    def reply(request):
        if len(request.server.requests) % 2:
            request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type="image/jpeg")
        else:
            request.send(503, Retry_After=0)

    with serving(reply) as server, opened(f"{server.address}/#rate=100") as source:
        assert [item.index for item in items(source, 4)] == list(range(4))


def test_a_camera_that_stops_answering_is_lost():
    def reply(request):
        number = len(request.server.requests)
        if number == 3:
            time.sleep(2)
        elif number == 5:
            request.send(500)
        else:
            request.send(200, JPEGS[number % 5], Content_Type="image/jpeg")

    with serving(reply) as server, opened(f"{server.address}/#rate=50") as source:
        found = items(source, 5)
        assert [getattr(item, "kind", item) for item in found if isinstance(item, Event)] == ["lost", "back"]


def test_a_truncated_image_is_damaged():
    def reply(request):
        number = len(request.server.requests)
        request.send(200, JPEGS[number % 5][: -(number == 2) * 200 or None], Content_Type="image/jpeg")

    with serving(reply) as server, opened(f"{server.address}/#rate=50") as source:
        first, damaged, third = items(source, 3)
    assert (first.index, damaged.kind, damaged.index, third.index) == (0, "corrupt", 1, 2)
    assert "it is truncated" in damaged.detail


class FakeRequests:
    def __init__(self, bodies):
        self.bodies = list(bodies)

    def get(self, fields):
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return Reply(200, Message(), body, 0)

    def close(self):
        pass


def test_an_image_that_never_changes_is_reported_once():
    """A file on a web server, or a camera that is frozen."""
    now = [0]

    def wait(seconds):
        now[0] += int(1e9 * seconds)

    first = Reply(200, Message(), JPEGS[0], 0)
    requests = FakeRequests([JPEGS[0]])
    source = Snapshots("http://host/x.jpg", requests, first, 5.0, Clock(lambda: now[0], wait))
    found = []
    while now[0] < 120e9:
        found.append(source.read())
    (frame, lost) = [item for item in found if isinstance(item, Frame) or item.kind != "waiting"]
    assert frame.index == 0
    assert (lost.kind, lost.index) == ("lost", 1)
    assert "has not changed for 30 s" in lost.detail
    requests.bodies = [JPEGS[1]]
    back, frame = items(source, 2)
    assert (back.kind, frame.index) == ("back", 1)
    assert snapshot.UNCHANGED_S * 1e9 <= lost.at_ns < 31e9


@pytest.mark.parametrize("rate", ["0", "fast", "1000", "nan", ""])
def test_a_rate_that_cannot_be_used_is_refused(rate):
    with pytest.raises(ConfigError, match=r"requests per second, from 0.1 to 100"):
        open_source(f"http://127.0.0.1:9/snapshot.jpg#rate={rate}")


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
def test_a_page_is_not_a_video(kind):
    with serving(lambda request: request.send(200, b"<html>", Content_Type=kind)) as server:
        with pytest.raises(SourceError, match=f"sent a page \\({kind}\\)") as caught:
            open_source(server.address)
        assert "\n" not in str(caught.value)


def digest_reply(request):
    """Require digest authentication with the user "robot" and the password "sec ret"."""
    expected = {}
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    for field in text.split(", ") if scheme == "Digest" else ():
        name, _, value = field.partition("=")
        expected[name] = value.strip('"')
    one = hashlib.md5(b"robot:camera:sec ret").hexdigest()
    two = hashlib.md5(f"GET:{request.path}".encode()).hexdigest()
    middle = [expected.get(name, "") for name in ("nonce", "nc", "cnonce", "qop")]
    if expected.get("response") != hashlib.md5(":".join([one, *middle, two]).encode()).hexdigest():
        challenge = 'Digest realm="camera", nonce="abc", qop="auth", algorithm=MD5'
        request.send(401, **{"WWW-Authenticate": challenge})
        return
    request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type="image/jpeg")


def test_single_images_behind_a_digest_password():
    with serving(digest_reply) as server:
        for user in ("", "robot:wrong@"):
            with pytest.raises(SourceError, match="responded with 401"):
                open_source(f"{server.address.replace('//', f'//{user}')}/now.jpg")
        server.requests.clear()
        address = server.address.replace("//", "//robot:sec%20ret@")
        with opened(f"{address}/now.jpg#rate=50") as source:
            assert [item.index for item in items(source, 5)] == list(range(5))
            assert len(server.requests) < 12, "each request but the first answers the challenge"


def test_another_server_gets_no_password():
    def ask(request):
        request.send(401, **{"WWW-Authenticate": 'Basic realm="camera"'})

    with serving(ask) as other, serving(lambda request: request.send(302, Location=f"{other.address}/x")) as server:
        with pytest.raises(SourceError, match="responded with 401"):
            open_source(f"{server.address.replace('//', '//robot:secret@')}/now.jpg")
        assert [headers.get("Authorization") for _, _, headers, _ in other.requests] == [None]


def test_a_stream_in_chunks_of_any_kind_of_multipart():
    def reply(request):
        request.send_response(200)
        request.send_header("Content-Type", "multipart/mixed; boundary=x")
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for number in range(100):
            data = b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + JPEGS[number % 5] + b"\r\n"
            for part in (data[:100], data[100:]):
                request.wfile.write(b"%x\r\n" % len(part) + part + b"\r\n")
            time.sleep(0.01)

    with serving(reply) as server, opened(server.address) as source:
        assert [item.index for item in items(source, 20)] == list(range(20))


WBITS = {"gzip": 31, "deflate": 15, "Deflate": -15}
"""Kind of header that zlib writes for each encoding. Servers send `deflate` with or without a header."""


@pytest.mark.parametrize("encoding", WBITS)
def test_a_compressed_stream_is_decompressed_while_it_arrives(encoding):
    def reply(request):
        packer = zlib.compressobj(wbits=WBITS[encoding])
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
        request.send_header("Content-Encoding", encoding)
        request.end_headers()
        for number in range(100):
            data = b"--x\r\nContent-Type: image/jpeg\r\n\r\n" + JPEGS[number % 5] + b"\r\n"
            request.wfile.write(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))
            time.sleep(0.01)

    with serving(reply) as server, opened(server.address) as source:
        found = items(source, 20)
        assert [item.index for item in found] == list(range(20))
        assert found[0].image.shape == (48, 64, 3)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_single_images_are_read(encoding):
    def reply(request):
        packer = zlib.compressobj(wbits=WBITS[encoding])
        body = packer.compress(JPEGS[len(request.server.requests) % 5]) + packer.flush()
        request.send(200, body, Content_Type="image/jpeg", Content_Encoding=encoding)

    with serving(reply) as server, opened(f"{server.address}/snapshot.jpg#rate=50") as source:
        assert [item.image.shape for item in items(source, 5)] == [(48, 64, 3)] * 5


def test_an_unknown_compression_is_named():
    def reply(request):
        request.send(200, b"?" * 99, Content_Type="image/jpeg", Content_Encoding="br")

    with (
        serving(reply) as server,
        pytest.raises(SourceError, match="compresses its images with 'br': turn compression"),
    ):
        open_stream(f"{server.address}/snapshot.jpg", LIMITS)


@pytest.mark.parametrize("first", [b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", b""])
def test_a_camera_that_sends_no_http_header(first):
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            client.recv(4096)
            try:
                for number in range(100):
                    client.sendall(first + JPEGS[number % 5] + b"\r\n")
                    time.sleep(0.01)
            except OSError:
                pass
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    with server, opened(f"http://127.0.0.1:{server.getsockname()[1]}/stream?x=1") as source:
        assert [item.index for item in items(source, 10)] == list(range(10))


class FakeParts:
    """Images at 40 per second. Four of five arrive 20 ms late. The server's times run at a given rate."""

    def __init__(self, rate):
        self.number, self.rate = -1, rate

    def next(self):
        self.number += 1
        taken_ms = 25 * self.number
        arrived_ms = taken_ms + 2 + (20 if self.number % 5 else 0)
        return Part(JPEGS[self.number % 5], 1_000_000 * arrived_ms, 10**7, 1.7e12 + self.rate * taken_ms)


@pytest.mark.parametrize(("rate", "largest_ms"), [(1.0, 2), (0.5, 22)])
def test_the_times_of_a_server_are_used_while_they_agree_with_the_clock(rate, largest_ms):
    source = MotionJpeg("http://host/video", FakeParts(rate), lambda: None, 5.0)
    found = [source.read() for _ in range(400)]
    frames = [item for item in found if isinstance(item, Frame)]
    errors = [frame.captured_ns / 1e6 - 25 * frame.index for frame in frames[250:]]
    assert max(errors) == pytest.approx(largest_ms, abs=0.01)
    details = [item.detail for item in found if isinstance(item, Event)]
    assert len(details) == (rate != 1)
    assert all("its presentation times run at 0.50 times the speed of the clock" in detail for detail in details)


@pytest.mark.parametrize("size", [(1600, 900), (160, 120)])
def test_a_camera_without_a_first_boundary(size):
    """ESP32-CAM and Tasmota send such streams. Large images have more than 64 KiB."""
    rng = np.random.default_rng(0)
    pictures = [cv2.imencode(".jpg", rng.integers(0, 255, (*size, 3), np.uint8))[1].tobytes() for _ in range(4)]
    assert (len(pictures[0]) > 1 << 16) == (size[0] == 1600)

    def reply(request):
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace;boundary=e8b8c539")
        request.end_headers()
        for number in range(100):
            data = pictures[number % 4]
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            request.wfile.write(head + data + b"\r\n--e8b8c539\r\n")
            time.sleep(0.02)

    with serving(reply) as server, opened(server.address) as source:
        assert [item.index for item in items(source, 10)] == list(range(10))


def test_a_camera_that_sends_byte_by_byte_is_lost():
    """No transfer exceeds its time limit, but no frame arrives."""

    def reply(request):
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace;boundary=x")
        request.end_headers()
        while True:
            request.wfile.write(b"x")
            time.sleep(0.1)

    with serving(reply) as server, opened(server.address) as source:
        (lost,) = items(source, 1)
        assert (lost.kind, lost.index) == ("lost", 0)
        assert "delivered no frame for 1.2 s" in lost.detail


def endless(kind, parts, **fields):
    """Return a reply that sends one image after another. `parts` splits the bytes of an image."""

    def reply(request):
        request.send_response(200)
        for name, value in {"Content-Type": kind, **fields}.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()
        for number in range(500):
            for part in parts(JPEGS[number % 5]):
                request.wfile.write(part)
                time.sleep(0.002)

    return reply


HEADER = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        ("image/jpeg", lambda data: [data]),
        ("image/jpeg", lambda data: [HEADER + data + b"\r\n"]),
        ("text/html", lambda data: [HEADER + data + b"\r\n"]),
        ("text/plain", lambda data: [b"\r\n" + HEADER, data]),
        ("video/x-motion-jpeg", lambda data: [HEADER, data]),
        (None, lambda data: [data[:1], data[1:2], data[2:3], data[3:]]),
    ],
)
def test_a_stream_of_images_with_another_type(kind, parts):
    with serving(endless(kind, parts)) as server, opened(server.address) as source:
        found = items(source, 12)
        assert [item.index for item in found] == list(range(12))
        for item in found:
            assert (item.image == cv2.imdecode(np.frombuffer(JPEGS[item.index % 5], np.uint8), 1)).all()
        assert len(server.requests) == 1


def test_a_redirection_to_another_image_each_time():
    def reply(request):
        if request.path == "/caf%C3%A9.jpg?at=%C3%BC":
            request.send(302, Location=f"/images/{len(request.server.requests) % 5}.jpg")
        else:
            request.send(200, JPEGS[int(request.path[8])], Content_Type="image/jpeg")

    with serving(reply) as server, opened(f"{server.address}/café.jpg?at=ü#rate=50") as source:
        assert [item.index for item in items(source, 5)] == list(range(5))
        assert len({address for _, address, _, _ in server.requests[2:]}) == 1, "over one connection"
        assert {headers["User-Agent"] for _, _, headers, _ in server.requests} == {"Orilla"}


CHALLENGES = [
    ['Digest realm="a", nonce="abc", qop="auth", algorithm=SHA-256'],
    ['Digest realm="a", nonce="abc", qop="auth-int, auth", algorithm=MD5-sess, opaque="o"'],
    ['Digest realm="a", nonce="abc"'],
    ['Digest realm="a", nonce="abc", algorithm=NEW', 'Digest realm="a", nonce="abc", qop="auth", algorithm=SHA-256'],
    ['Basic realm="a", Digest realm="a", nonce="abc", qop="auth"'],
]


@pytest.mark.parametrize("challenges", CHALLENGES)
def test_every_digest_challenge_is_answered(challenges):
    """The server computes the response as RFC 7616 specifies.

    The client does not answer the challenge of basic authentication.
    """

    def is_right(request):
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        stated = urllib.request.parse_keqv_list(urllib.request.parse_http_list(text))
        if scheme != "Digest":
            return False
        name = stated.get("algorithm", "MD5")
        algorithm = {"MD5": "md5", "MD5-sess": "md5", "SHA-256": "sha256"}[name]

        def hashed(*parts):
            return hashlib.new(algorithm, ":".join(parts).encode()).hexdigest()

        secret = hashed("robot", "a", "secret")
        if name.endswith("-sess"):
            secret = hashed(secret, "abc", stated["cnonce"])
        middle = [stated[key] for key in ("nc", "cnonce", "qop")] if "qop" in stated else []
        return stated["response"] == hashed(secret, "abc", *middle, hashed("GET", request.path))

    def reply(request):
        if is_right(request):
            request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type="image/jpeg")
            return
        request.send_response(401)
        for challenge in challenges:
            request.send_header("WWW-Authenticate", challenge)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with serving(reply) as server:
        address = server.address.replace("//", "//robot:secret@")
        with opened(f"{address}/now.jpg?channel=1#rate=50") as source:
            assert [item.index for item in items(source, 3)] == list(range(3))


def test_a_playlist_that_is_sent_as_a_text_is_opened_by_ffmpeg():
    """FFmpeg needs the address of the playlist, because the playlist names other files."""

    def reply(request):
        request.send_response(200)
        request.send_header("Content-Type", "text/plain")
        request.end_headers()
        request.wfile.write(b"#EXTM3U\n#EXT-X-VERSION:3\n")
        request.close_connection = True

    with serving(reply) as server:
        assert open_http(f"{server.address}/live.m3u8", "camera", 1.0) is Remote.PLAYLIST


@pytest.mark.parametrize(("suffix", "codec"), [("ts", "mpeg2video"), ("mjpeg", "mjpeg"), ("mp4", "mpeg4")])
def test_every_kind_of_recording_behind_a_url_is_read_from_its_start_to_its_end(tmp_path, suffix, codec):
    """The server does not send parts of a file, so FFmpeg does not know the duration of a transport stream."""
    with av.open(str(tmp_path / f"clip.{suffix}"), "w") as file:
        stream = file.add_stream(codec, rate=25)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for seed in range(12):
            frame = av.VideoFrame.from_ndarray(factories.picture(48, 64, seed), format="bgr24")
            file.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        file.mux(stream.encode(None))
    data = (tmp_path / f"clip.{suffix}").read_bytes()
    with serving(lambda request: request.send(200, data, Content_Type="application/octet-stream")) as server:
        source = open_source(f"{server.address}/clip.{suffix}")
        frames = list(iter(source.read, None))
        assert not source.live
        source.close()
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.time_ns for frame in frames] == [40_000_000 * index for index in range(12)]


def test_a_camera_with_its_own_certificate(tmp_path, monkeypatch):
    """An untrusted certificate is rejected with advice, and a trusted one is accepted."""
    folder = make_certificates(tmp_path)

    def reply(request):
        request.send(200, JPEGS[len(request.server.requests) % 5], Content_Type="image/jpeg")

    with serving(reply) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        address = f"https://localhost:{server.server_port}/now.jpg#rate=50"
        with pytest.raises(SourceError, match=r"certificate is not trusted \(.*\); if it is your camera's own"):
            open_stream(address, LIMITS)
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "ca.pem"))
        with opened(address) as source:
            assert [item.index for item in items(source, 3)] == list(range(3))


def test_an_image_that_is_damaged_in_the_middle_is_one_corrupt_frame():
    """OpenCV decodes such an image to one with shifted or grey parts."""
    whole = [cv2.imencode(".jpg", factories.picture(480, 640, seed))[1].tobytes() for seed in range(5)]
    middle = len(whole[2]) // 2
    damaged = whole[2][:middle] + bytes(range(200)) + whole[2][middle + 200 :]
    assert cv2.imdecode(np.frombuffer(damaged, np.uint8), 1).shape == (480, 640, 3)

    def reply(request):
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for number in range(500):
            request.wfile.write(HEADER + (damaged if number == 2 else whole[number % 5]) + b"\r\n")
            time.sleep(0.002)

    with serving(reply) as server, opened(server.address) as source:
        found = items(source, 6)
        assert [isinstance(item, Event) for item in found] == [False, False, True, False, False, False]
        assert (found[2].kind, found[2].index) == ("corrupt", 2)
        assert "is skipped: it is damaged" in found[2].detail

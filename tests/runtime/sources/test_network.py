"""Network cameras, with real servers on this machine: JPEG images over HTTP, and RTSP."""

import base64
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import factories

import orilla.runtime
from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.scenes import clock
from orilla.runtime.sources import received_bytes
from orilla.runtime.sources.network import open_stream
from orilla.runtime.sources.registry import open_source
from orilla.runtime.sources.time_limit import TimeLimits

PATIENCE_S = 20.0
"""Maximum time in seconds that a test waits."""


class Camera:
    """Settings of the HTTP camera. A test changes them while the server runs."""

    def __init__(self):
        self.frames = None
        """Number of images after which the server closes the connection. If None, there is no limit."""
        self.size_hw = (240, 320)
        self.garbage = False
        self.boundary = ("frame", "--frame")
        """Multipart boundary as the header announces it, and as the server sends it before each part."""
        self.lengths, self.period_s = True, 0.02
        self.password = None
        self.silent = threading.Event()
        self.connections = 0
        self.over = threading.Event()


class Handler(BaseHTTPRequestHandler):
    """HTTP handler that serves only `/video` (a camera) and `/clip.avi` (a recording)."""

    def do_GET(self):
        camera = self.server.camera
        if self.path == "/clip.avi":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.clip)))
            self.end_headers()
            self.wfile.write(self.server.clip)
            return
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/video")
            self.end_headers()
            return
        if self.path != "/video":
            self.send_error(404)
            return
        expected = camera.password and "Basic " + base64.b64encode(camera.password.encode()).decode()
        if expected and self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        self.stream(camera)

    def stream(self, camera):
        """Send images until the camera stops."""
        camera.connections += 1
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={camera.boundary[0]}")
        self.end_headers()
        sent = 0
        try:
            while camera.frames is None or sent < camera.frames:
                image = np.full((*camera.size_hw, 3), 90, np.uint8)
                clock.draw(image, time.monotonic_ns())
                data = cv2.imencode(".jpg", image)[1].tobytes()
                if camera.garbage:
                    data = bytes(reversed(data))
                head = f"{camera.boundary[1]}\r\nContent-Type: image/jpeg\r\n"
                if camera.lengths:
                    head += f"Content-Length: {len(data)}\r\n"
                else:  # The image contains bytes that look like a boundary.
                    data = data[:-2] + f"\n{camera.boundary[1]}\r\n".encode() + data[-2:]
                self.wfile.write(head.encode() + b"\r\n" + data + (b"\r\n" if camera.lengths else b""))
                sent += 1
                if camera.silent.is_set():
                    camera.over.wait(PATIENCE_S)
                    return
                if camera.over.wait(camera.period_s):
                    return
        except OSError:
            return

    def log_message(self, *message):
        pass


@pytest.fixture
def http_camera(tmp_path):
    camera = Camera()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.camera = camera
    server.clip = factories.video(tmp_path / "clip.avi", 12).read_bytes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    camera.address = f"http://127.0.0.1:{server.server_port}"
    yield camera
    camera.over.set()
    server.shutdown()
    server.server_close()


LIMITS = TimeLimits(open_s=2, read_s=0.6, first_wait_s=0.02)


@contextmanager
def opened(url):
    """Open a network camera with timeouts of a fraction of a second."""
    source = open_stream(url, LIMITS)
    try:
        yield source
    finally:
        source.close()


def until(source, matches):
    """Return the frames and events up to the first one for which `matches` returns True."""
    items, end = [], time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        item = source.read()
        if not (isinstance(item, Event) and item.kind == "waiting"):
            items.append(item)
            if matches(item):
                return items
    msg = f"nothing matched within {PATIENCE_S:g} s: {items[-5:]}"
    raise AssertionError(msg)


def kind(name):
    return lambda item: isinstance(item, Event) and item.kind == name


def frame(item):
    return isinstance(item, Frame)


def test_frames_of_an_http_camera_are_fresh(http_camera):
    with opened(f"{http_camera.address}/video") as source:
        assert source.live
        indices, ages = [], []
        while len(indices) < 40:
            newest = until(source, frame)[-1]
            indices.append(newest.index)
            ages.append(clock.since_ms(clock.read(newest.image), time.monotonic_ns()))
        assert indices == list(range(40))
        assert newest.image.shape == (240, 320, 3)
        # According to the time in the image, the frames that queued while the stream was opened have been skipped.
        assert sorted(ages)[20] < 500


def test_a_camera_that_closes_is_opened_again(http_camera):
    http_camera.frames = 60
    with opened(f"{http_camera.address}/video") as source:
        before = until(source, kind("lost"))
        http_camera.frames = None
        back, first = until(source, kind("back"))[-1], until(source, frame)[-1]
    indices = [item.index for item in before if isinstance(item, Frame)]
    assert indices == list(range(len(indices)))
    assert back.index == first.index == len(indices)
    assert http_camera.connections >= 2


def test_a_camera_that_stalls_is_lost_and_reopened(http_camera):
    with opened(f"{http_camera.address}/video") as source:
        until(source, frame)
        http_camera.silent.set()
        lost = until(source, kind("lost"))[-1]
        assert "ended, or sent nothing for 0.6 s" in lost.detail
        http_camera.silent.clear()
        until(source, kind("back"))


def test_a_camera_that_sends_garbage_is_reopened(http_camera):
    with opened(f"{http_camera.address}/video") as source:
        until(source, frame)
        http_camera.garbage = True
        until(source, lambda item: isinstance(item, Event))
        http_camera.garbage = False
        until(source, frame)


def test_a_resolution_that_changes_midway_is_followed(http_camera):
    with opened(f"{http_camera.address}/video") as source:
        assert until(source, frame)[-1].image.shape == (240, 320, 3)
        http_camera.size_hw = (120, 160)
        until(source, lambda item: isinstance(item, Frame) and item.image.shape == (120, 160, 3))


@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize(
    "boundary",
    [
        ("frame", "--frame"),
        ('"a b"', "--a b"),
        ("--frame", "--frame"),
        ("--frame", "----frame"),
        ("x", "--y"),
        ("frame", "frame"),
    ],
)
def test_boundaries_may_differ_from_the_announced_one(http_camera, boundary, lengths):
    http_camera.boundary, http_camera.lengths = boundary, lengths
    with opened(f"{http_camera.address}/video") as source:
        assert [until(source, frame)[-1].index for _ in range(5)] == list(range(5))


def test_a_camera_without_lengths_is_not_a_period_late(http_camera):
    http_camera.lengths, http_camera.period_s = False, 0.5
    with opened(f"{http_camera.address}/video") as source:
        until(source, frame)
        newest = until(source, frame)[-1]
        assert clock.since_ms(clock.read(newest.image), time.monotonic_ns()) < 400


@pytest.mark.parametrize("path", ["/video", "/moved"])
def test_a_camera_with_a_password(http_camera, path):
    http_camera.password = "robot:sec ret"
    with pytest.raises(SourceError, match="the server responded with 401"):
        open_source(f"{http_camera.address}{path}")
    address = http_camera.address.replace("//", "//robot:sec%20ret@")
    with opened(f"{address}{path}") as source:
        assert until(source, frame)[-1].index == 0


def test_a_recording_behind_a_url_ends(http_camera):
    with opened(f"{http_camera.address}/clip.avi") as source:
        assert not source.live
        assert sum(1 for _ in iter(source.read, None)) == 12


def test_a_camera_that_never_sends_a_frame_is_an_error_of_one_line(http_camera):
    http_camera.frames = 0
    with (
        pytest.raises(SourceError, match=r"no video at|delivered no frame") as caught,
        opened(f"{http_camera.address}/video") as source,
    ):
        until(source, frame)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/nothing", ""])
def test_a_missing_address_is_rejected(http_camera, path):
    with pytest.raises(SourceError, match="no video at http://127"):
        open_source(f"{http_camera.address}{path}")


def test_a_password_is_never_shown(http_camera):
    address = http_camera.address.replace("//", "//robot:secret@")
    with pytest.raises(SourceError) as caught:
        open_source(f"{address}/nothing?token=secret")
    assert "secret" not in str(caught.value)


def test_a_port_without_a_server_is_rejected():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for scheme in ("rtsp", "http"):
        with pytest.raises(SourceError, match="no video at"):
            open_source(f"{scheme}://127.0.0.1:{port}/camera")


def test_a_loop_over_an_http_camera(http_camera, tiny_bundle):
    events = []
    url = f"{http_camera.address}/video"
    with orilla.runtime.open(tiny_bundle) as model, model.stream(url, on_event=events.append) as stream:
        ticks = [next(stream) for _ in range(20)]
    assert [tick.index for tick in ticks] == sorted({tick.index for tick in ticks})
    assert all(tick.age_ms >= 0 for tick in ticks)


class RtspServer:
    """The RTSP server's process. After a restart, it uses the same port."""

    def __init__(self):
        self.port, self.process = "0", None

    def start(self):
        script = Path(__file__).parents[2] / "helpers" / "rtsp_server.py"
        self.process = subprocess.Popen(
            ["/usr/bin/python3", str(script), self.port], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.port = self.process.stdout.readline().decode().strip()

    def stop(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def rtsp():
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer; "
    probe += "Gst.init(None); assert Gst.ElementFactory.find('x264enc') and Gst.ElementFactory.find('rtph264pay')"
    if sys.platform != "linux" or not Path("/usr/bin/python3").exists():
        pytest.skip("needs the system's Python")
    if subprocess.run(["/usr/bin/python3", "-c", probe], capture_output=True, check=False).returncode:
        packages = "python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-{base,good,ugly}"
        pytest.skip(f"needs an RTSP server: apt install {packages}")
    server = RtspServer()
    server.start()
    yield server
    server.stop()


def test_an_rtsp_camera_is_stamped_lost_and_found_again(rtsp):
    with opened(f"rtsp://127.0.0.1:{rtsp.port}/camera") as source:
        assert source.live
        assert source.rate_hz == 30
        frames = [until(source, frame)[-1] for _ in range(45)]
        assert [item.index for item in frames] == list(range(45))
        assert frames[0].image.shape == (240, 320, 3)
        # The presentation times, which are used after some seconds, differ by one period.
        frames = [until(source, frame)[-1] for _ in range(180)]
        gaps = np.diff([item.captured_ns for item in frames[150:]]) / 1e6
        assert np.abs(gaps - 1000 / 30).max() < 5
        rtsp.stop()
        lost = until(source, kind("lost"))[-1]
        rtsp.start()
        until(source, kind("back"))
        again = until(source, frame)[-1]
        assert again.index >= lost.index
        assert again.captured_ns > frames[-1].captured_ns


@pytest.mark.parametrize("head", [b"", b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", b"\r\n--x\r\n\r\n"])
def test_images_over_tcp_whose_first_bytes_arrive_one_by_one(head):
    """FFmpeg would number the frames at 25 per second, and stop at a damaged frame."""
    server = socket.create_server(("127.0.0.1", 0))
    data = head + cv2.imencode(".jpg", factories.picture(48, 64))[1].tobytes()
    damaged = head + b"\xff\xd8\xff\xe0\x00\x10 damaged"

    def serve():
        client, _ = server.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client, suppress(OSError):
            for number in range(4):
                client.sendall(data[number : number + 1])
                time.sleep(0.01)
            client.sendall(data[4:] + damaged)
            for _ in range(100):
                client.sendall(data)
                time.sleep(0.01)

    threading.Thread(target=serve, daemon=True).start()
    with server, opened(f"tcp://127.0.0.1:{server.getsockname()[1]}") as source:
        items = [item for item in (source.read() for _ in range(12)) if getattr(item, "kind", "") != "waiting"]
    assert [item.index for item in items[:5]] == list(range(5))
    assert [item.kind for item in items if isinstance(item, Event)] == ["corrupt"]


def test_multicast_groups_with_the_same_port_are_separate():
    groups = ("239.195.7.1", "239.195.7.2")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("", 0))
        port = unused.getsockname()[1]
    receivers = [received_bytes.udp(f"udp://@{group}:{port}", 0.5) for group in groups]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        try:
            for text in (b"a", b"b"):
                for group in groups:
                    sender.sendto(text + group.encode(), (group, port))
        except OSError as error:
            pytest.skip(f"this machine cannot send to a multicast group: {error}")
    for group, receiver in zip(groups, receivers, strict=True):
        assert [receiver.read() for _ in range(3)] == [b"a" + group.encode(), b"b" + group.encode(), b""]
        assert isinstance(receiver.error, TimeoutError)
        receiver.close()

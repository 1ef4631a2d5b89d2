"""Servers of live streams whose images contain the time at which they were drawn.

    python tests/helpers/live_servers.py KIND RATE      prints the URL, then serves until it is killed

The kinds are the keys of `KINDS`. Each HTTP server deviates from the standard in its own way.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.runtime.scenes import clock, render

SIZE_HW = (240, 320)
RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")


def frames(rate_hz: float) -> Iterator[NDArray[np.uint8]]:
    """Yield an image at each due time, with the time drawn on it."""
    image = render(3, 0.0, SIZE_HW)[0]
    due = time.monotonic()
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        due = max(due + 1 / rate_hz, time.monotonic() - 1)
        clock.draw(image, time.monotonic_ns())
        yield image


def jpegs(rate_hz: float) -> Iterator[bytes]:
    """Yield an encoded image at each due time."""
    for image in frames(rate_hz):
        yield cv2.imencode(".jpg", image)[1].tobytes()


def h264(rate_hz: float, target: str, kind: str) -> None:
    """Send H.264 to a URL of FFmpeg, in a container of the given kind."""
    with av.open(target, "w", format=kind, container_options={"flush_packets": "1"}) as container:
        options = {"preset": "ultrafast", "tune": "zerolatency"}
        stream = container.add_stream("libx264", rate=Fraction(rate_hz), options=options)
        stream.width, stream.height, stream.pix_fmt = SIZE_HW[1], SIZE_HW[0], "yuv420p"
        stream.codec_context.gop_size = int(rate_hz)
        for number, image in enumerate(frames(rate_hz)):
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1) / Fraction(rate_hz)
            container.mux(stream.encode(frame))


def tcp_jpegs(rate_hz: float) -> None:
    """Send JPEGs over TCP to one client after the other, as `rpicam-vid --codec mjpeg --listen` does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        print(f"tcp://127.0.0.1:{server.getsockname()[1]}", flush=True)
        while True:
            client, _ = server.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for data in jpegs(rate_hz):
                    client.sendall(data)
            except OSError:
                client.close()


def tcp_h264(rate_hz: float) -> None:
    """Send raw H.264 over TCP to one client, as `rpicam-vid --codec h264 --listen` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    # FFmpeg starts to listen a moment later. It accepts only one connection, so do not test whether it listens.
    with subprocess.Popen(["sh", "-c", f"sleep 1; echo {url}"]):
        h264(rate_hz, f"{url}?listen=1", "h264")


def udp_mpegts(rate_hz: float) -> None:
    """Send MPEG-TS datagrams to a port, whether or not anybody receives them."""
    with socket.socket(type=socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        url = f"udp://127.0.0.1:{free.getsockname()[1]}"
    print(url, flush=True)
    h264(rate_hz, f"{url}?pkt_size=1316", "mpegts")


def rtsp(rate_hz: float) -> None:
    """Serve H.264 over RTSP with GStreamer's server."""
    size = (str(SIZE_HW[1]), str(SIZE_HW[0]))
    command = ["/usr/bin/python3", str(RTSP_SERVER), "0", *size, str(int(rate_hz))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        print(f"rtsp://127.0.0.1:{server.stdout.readline().decode().strip()}/camera", flush=True)
        for image in frames(rate_hz):
            server.stdin.write(cv2.cvtColor(image, cv2.COLOR_BGR2YUV_I420).tobytes())
            server.stdin.flush()


def _head(data: bytes, line: str = "\r\n", *fields: str) -> bytes:
    return line.join(["Content-Type: image/jpeg", f"Content-Length: {len(data)}", *fields, line]).encode()


def _stamp() -> str:
    return f"X-Timestamp: {time.time():.6f}"


HABITS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "standard": (
        "multipart/x-mixed-replace; boundary=frame",
        lambda data: b"--frame\r\n" + _head(data) + data + b"\r\n",
    ),
    "no-first-boundary": (
        "multipart/x-mixed-replace;boundary=e8b8c539",
        lambda data: _head(data) + data + b"\r\n--e8b8c539\r\n",
    ),
    "stamped": (
        "multipart/x-mixed-replace;boundary=boundarydonotcross",
        lambda data: b"--boundarydonotcross\r\n" + _head(data, "\r\n", _stamp()) + data + b"\r\n",
    ),
    "no-length": (
        'multipart/x-mixed-replace; boundary="--myboundary"',
        lambda data: b"--myboundary\nContent-Type: image/jpeg\n\n" + data + b"\n",
    ),
    "chunked": (
        "multipart/mixed; boundary=x",
        lambda data: b"%x\r\n" % (len(data) + 9) + b"--x\r\n\r\n" + data + b"\r\n" + b"\r\n",
    ),
}
"""Content type of each HTTP server, and how it sends an image."""


def http_jpegs(rate_hz: float, habit: str) -> None:
    """Send JPEGs over HTTP in the way of one server."""
    kind, wrapped = HABITS[habit]

    class Camera(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            if habit == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.close_connection = True
            try:
                for data in jpegs(rate_hz):
                    self.wfile.write(wrapped(data))
            except OSError:
                return

        def log_message(self, *message: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    print(f"http://127.0.0.1:{server.server_port}/video", flush=True)
    server.serve_forever()


def http_images(rate_hz: float) -> None:
    """Send the newest image on each request."""
    newest = jpegs(1000)

    class Camera(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            data = next(newest)
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *message: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    print(f"http://127.0.0.1:{server.server_port}/snapshot.jpg#rate={rate_hz:g}", flush=True)
    server.serve_forever()


KINDS: dict[str, Callable[[float], None]] = {
    "rtsp-h264": rtsp,
    "tcp-mjpeg": tcp_jpegs,
    **{f"http-mjpeg-{habit}": partial(http_jpegs, habit=habit) for habit in HABITS},
    "udp-mpegts": udp_mpegts,
    "tcp-h264": tcp_h264,
    "http-snapshot": http_images,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]](float(sys.argv[2]))

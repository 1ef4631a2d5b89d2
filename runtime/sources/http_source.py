"""Open an HTTP address: a stream of images, single images on request, or any video that FFmpeg reads."""

from __future__ import annotations

import http.client
import ssl
from contextlib import suppress
from enum import Enum
from http import HTTPStatus
from urllib.error import URLError

from orilla.devices.errors import SourceError
from orilla.runtime.sources.http_polling import KeepAlive, Reply
from orilla.runtime.sources.http_request import MAX_BYTES, Response, connect
from orilla.runtime.sources.jpeg_scanner import JPEG, BrokenJpegError, JpegScanner
from orilla.runtime.sources.mjpeg import MotionJpeg
from orilla.runtime.sources.multipart import CHUNK, PNG, START_BYTES, ByteStream, ImageParts, has_images
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.snapshot import RATE_HZ, Snapshots
from orilla.runtime.sources.source import Source, now_ns

NO_VIDEO = ("text/html", "application/json", "application/xhtml+xml")
"""Content types of pages and messages, which servers send instead of a video."""

PLAYLISTS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "application/dash+xml")
"""Content types of HLS and DASH, whose videos consist of many files."""

PLAYLIST = b"#EXTM3U"
"""First bytes of an HLS playlist, which some servers send as a text."""


SEVERAL, HEAD_BYTES = b"MPF\0", 1 << 16
"""Mark at the start of a JPEG that another image follows in the same file, such as a depth map, and the number of bytes
that contain it. Source: CIPA DC-007, "Multi-Picture Format"."""

UNTRUSTED = "if it is your camera's own certificate, use http://, or set SSL_CERT_FILE to a file with the certificate"
"""Advice for a server whose certificate cannot be verified."""

ENDLESS = ((1 << 31) - 1, (1 << 32) - 1, 1 << 40)
"""Values of `Content-Length` with which some servers announce an endless stream. Larger values have the same meaning as
the last one."""


class Remote(Enum):
    """Sources that FFmpeg must open itself, because it requests only the parts that it needs."""

    FILE = "a recording"
    PLAYLIST = "a playlist of a recording or of a live stream"


def open_http(url: str, name: str, timeout_s: float, rate_hz: float | None = None) -> Source | ReceivedBytes | Remote:
    """Request a URL, and return the source for the server's response.

    If the response is an endless video, the open connection is returned as `ReceivedBytes`, because some cameras allow
    only one connection.

    Args:
        url: The address.
        name: Name of the camera in messages.
        timeout_s: Timeout of the connection in seconds.
        rate_hz: Number of requests per second for single images, or None for the default.

    Raises:
        SourceError: The server does not respond, or sends no video.
    """
    try:
        response = connect(url, timeout_s)
    except OSError as error:
        reason = error.reason if isinstance(error, URLError) else error
        advice = "check the address and the user name, and that the camera is on"
        if isinstance(reason, ssl.SSLCertVerificationError):
            reason, advice = f"its certificate is not trusted ({reason.verify_message})", UNTRUSTED
        msg = f"no video at {name}: {reason}; {advice}"
        raise SourceError(msg) from error
    if response.headers.get_content_maintype() == "multipart":
        return MotionJpeg.of(name, response, timeout_s)
    try:
        return _by_content(url, name, response, timeout_s, rate_hz)
    except (OSError, http.client.HTTPException) as error:
        response.close()
        if isinstance(error, SourceError):
            raise
        msg = f"{name} ended, or sent nothing for {timeout_s:g} s"
        raise SourceError(msg) from error


def _by_content(
    url: str, name: str, response: Response, timeout_s: float, rate_hz: float | None
) -> Source | ReceivedBytes | Remote:
    """Return the source for a response that is not a multipart message. Servers state wrong types, or none."""
    kind, is_finite = response.headers.get_content_type(), _is_finite(response)
    received = ReceivedBytes(lambda: response.read1(CHUNK), response.close)
    start = received.peek(START_BYTES)
    is_jpeg = start.startswith(JPEG)
    if has_images(start) and not is_jpeg:
        return received
    if response.headers.get_content_maintype() == "image" or (is_finite and (is_jpeg or start.startswith(PNG))):
        first, is_stream = _first_image(name, received, response)
        if is_stream and not is_finite:
            return MotionJpeg(name, ImageParts(ByteStream(received.read, first.body)), received.close, timeout_s)
        received.close()
        if is_stream and SEVERAL not in first.body[:HEAD_BYTES]:
            return Remote.FILE
        return Snapshots(name, KeepAlive(url, timeout_s), first, rate_hz or RATE_HZ)
    is_playlist = kind in PLAYLISTS or start.startswith(PLAYLIST)
    if is_jpeg or not (is_finite or is_playlist or kind in NO_VIDEO):
        return received
    received.close()
    if is_playlist:
        return Remote.PLAYLIST
    if kind in NO_VIDEO:
        msg = f"no video at {name}: the server sent a page ({kind}); give the address of the stream itself"
        raise SourceError(msg)
    return Remote.FILE


def _is_finite(response: Response) -> bool:
    text = response.headers.get("Content-Length", "").strip()
    return text.isdigit() and len(text) < 20 and int(text) not in ENDLESS and int(text) < ENDLESS[-1]


def _first_image(name: str, received: ReceivedBytes, response: Response) -> tuple[Reply, bool]:
    """Read the image that a server sent.

    Some servers state the content type of a single image, but send a stream of images. Reading stops after the start of
    the second image, and the second result is True.
    """
    arrived_ns, body, scanner = now_ns(), bytearray(), JpegScanner()
    end: int | None = None
    is_stream = False
    while received.peek() and not is_stream:
        body += received.read()
        if len(body) > MAX_BYTES:
            msg = f"no video at {name}: its image does not end within {MAX_BYTES} bytes"
            raise SourceError(msg)
        if end is None and body.startswith(JPEG):
            with suppress(BrokenJpegError):
                end = scanner.find_end(body)
        is_stream = end is not None and has_images(bytes(body[end:]).lstrip(b"\r\n"))
    return Reply(HTTPStatus.OK, response.headers, bytes(body), arrived_ns), is_stream

"""Open an HTTP address: a stream of images, single images on request, or any video that FFmpeg reads."""

from __future__ import annotations

from http import HTTPStatus
from urllib.error import URLError
from urllib.parse import urlsplit, urlunsplit

from orilla.devices.errors import SourceError
from orilla.runtime.sources.http_request import MAX_BYTES, KeepAlive, Reply, Response, connect
from orilla.runtime.sources.mjpeg import MotionJpeg
from orilla.runtime.sources.multipart import CHUNK
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.snapshot import RATE_HZ, Snapshots
from orilla.runtime.sources.source import Source, now_ns

NO_VIDEO = ("text/html", "application/json", "application/xhtml+xml")
"""Content types of pages and messages, which servers send instead of a video."""

PLAYLISTS = ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "application/dash+xml")
"""Content types of HLS and DASH, whose videos consist of many files."""


UNSTATED = ("application/octet-stream", "binary/octet-stream", "application/binary", "text/plain")
"""Content types that do not say what the content is. `text/plain` is the type of a reply without a header."""

JPEG, PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
"""First bytes of images."""


def open_http(url: str, name: str, timeout_s: float, rate_hz: float | None = None) -> Source | ReceivedBytes | None:
    """Request a URL, and return the source for the server's response.

    If the response is an endless video, the open connection is returned as `ReceivedBytes`, because some cameras allow
    only one connection. If it is a file or a playlist, the result is None: FFmpeg must open the URL, because it
    requests only the parts that it needs.

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
        msg = f"no video at {name}: {reason}; check the address and the user name, and that the camera is on"
        raise SourceError(msg) from error
    kind = response.headers.get_content_type()
    if response.headers.get_content_maintype() == "multipart":
        return MotionJpeg.of(name, response, timeout_s)
    # Some cameras state no type, or a type for any file. Their images are recognised by the first bytes.
    start = response.read1(len(PNG)) if kind in UNSTATED and "Content-Length" in response.headers else b""
    if response.headers.get_content_maintype() == "image" or start.startswith((JPEG, PNG)):
        first = _first_image(name, response, start, timeout_s)
        return Snapshots(name, KeepAlive(_final_address(url, response), timeout_s), first, rate_hz or RATE_HZ)
    if "Content-Length" not in response.headers and kind not in (*NO_VIDEO, *PLAYLISTS):
        return ReceivedBytes(lambda: response.read1(CHUNK), response.close)
    response.close()
    if kind in NO_VIDEO:
        msg = f"no video at {name}: the server sent a page ({kind}); give the address of the stream itself"
        raise SourceError(msg)
    return None


def _first_image(name: str, response: Response, start: bytes, timeout_s: float) -> Reply:
    """Read the image that a server sent. `start` is the part that was already read."""
    arrived_ns, body = now_ns(), bytearray(start)
    try:
        while data := response.read1(MAX_BYTES):
            body += data
            if len(body) > MAX_BYTES:
                msg = f"no video at {name}: its image does not end within {MAX_BYTES} bytes"
                raise SourceError(msg)
    except OSError as error:
        msg = f"{name} ended, or sent nothing for {timeout_s:g} s"
        raise SourceError(msg) from error
    finally:
        response.close()
    return Reply(HTTPStatus.OK, response.headers, bytes(body), arrived_ns)


def _final_address(url: str, response: Response) -> str:
    """Return the address after all redirections. It contains the password only if the server is the same."""
    asked, final = urlsplit(url), urlsplit(getattr(response, "url", url))
    same = (asked.scheme, asked.hostname, asked.port) == (final.scheme, final.hostname, final.port)
    return urlunsplit(final._replace(netloc=asked.netloc) if same else final)

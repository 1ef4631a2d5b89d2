"""Source for cameras that send one JPEG after another over HTTP (`multipart/x-mixed-replace`).

FFmpeg could read such a stream too, but it takes a second to start, gives no time stamps, keeps the size of the first
image, and stops at a damaged image.
"""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from urllib.parse import unquote, urlsplit, urlunsplit

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import decode_quietly
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.source import now_ns

KIND = "multipart/x-mixed-replace"
"""Content type of the stream."""

MAX_BYTES = 64 << 20
"""Maximum size of one image in bytes."""

MAX_BETWEEN = 1 << 16
"""Maximum size in bytes of the data between two images, including the header."""

CHUNK = 1 << 16

SOI, EOI, SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
"""Markers at the start and end of a JPEG, and the code of the marker before the pixel data."""

MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""Pattern of a marker that ends the pixel data. It does not match stuffed bytes and restart markers, which are part
of the data. Source: ITU-T T.81, B.1.1.5."""

Response = http.client.HTTPResponse


class MotionJpeg:
    """Delivers the frames of one connection. The capture time is the time at which the first byte of the image arrives.

    Each part of the stream begins with a boundary. Some cameras send a boundary that differs from the one in the
    response header, so the source reads the boundary from the stream.

    Args:
        name: Name of the camera in messages.
        response: The server's response.
        timeout_s: Timeout of the connection in seconds. It is used only in messages.
    """

    live = True
    rate_hz: float | None = None

    def __init__(self, name: str, response: Response, timeout_s: float) -> None:
        self._name, self._response, self._timeout_s = name, response, timeout_s
        self._corrupt = CorruptFrames(name)
        self._buffer = bytearray()
        self._index = 0

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        try:
            boundary, length = self._header()
            while not self._buffer:
                self._fill()
            captured_ns = now_ns()
            data = self._take(length) if length is not None else self._take_up_to(boundary)
        except (OSError, EOFError, http.client.HTTPException, ValueError) as error:
            reason = f": {error}" if isinstance(error, ValueError) else f", or sent nothing for {self._timeout_s:g} s"
            msg = f"{self._name} ended{reason}"
            raise SourceError(msg) from error
        image = decode_quietly(data)
        index = self._index
        self._index += 1
        return self._corrupt.check(index, image, captured_ns)

    def close(self) -> None:
        """Release the source."""
        self._response.close()

    def _header(self) -> tuple[bytes, int | None]:
        """Read the header of a part.

        Return the boundary, and the length of the image or None if the header does not state it.
        """
        size, boundary, length = 0, b"", None
        while True:
            line = self._line()
            size += len(line)
            if size > MAX_BETWEEN:
                msg = "it sent no boundary between the images"
                raise ValueError(msg)
            line = line.strip()
            if not boundary:
                boundary = line if line.startswith(b"--") else b""
            elif not line:
                return boundary, length
            elif line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
                if not 0 <= length <= MAX_BYTES:
                    msg = f"it announced an image of {length} bytes, but at most {MAX_BYTES} are allowed"
                    raise ValueError(msg)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_BETWEEN:
                msg = "it sent no header between the images"
                raise ValueError(msg)
            self._fill()
        return self._consume(end + 1)

    def _take(self, length: int) -> bytes:
        while len(self._buffer) < length:
            self._fill()
        return self._consume(length)

    def _take_up_to(self, boundary: bytes) -> bytes:
        """Read an image of unknown length.

        A JPEG is read up to its end marker, because the next boundary arrives only with the next image. Other data is
        read up to the next boundary.
        """
        while True:
            end = _jpeg_end(self._buffer)
            if end is None and not self._buffer.startswith(SOI[: len(self._buffer)]):
                next_part = self._buffer.find(boundary)
                end = next_part if next_part >= 0 else None
            if end is not None:
                return self._consume(end)
            if len(self._buffer) > MAX_BYTES:
                msg = f"it sent an image with no end within {MAX_BYTES} bytes"
                raise ValueError(msg)
            self._fill()

    def _consume(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _fill(self) -> None:
        data = self._response.read1(CHUNK)
        if not data:
            raise EOFError
        self._buffer += data


def _jpeg_end(data: bytearray) -> int | None:
    """Return the position after the JPEG at the start of `data`, or None if its end is missing or if it is not a JPEG.

    Segments are skipped by their length, because a segment may contain a thumbnail, which also ends with `EOI`. Source:
    ITU-T T.81, B.1.1.
    """
    if not data.startswith(SOI):
        return None
    position = 2
    while len(data) >= position + 4 or data[position : position + 2] == EOI:
        marker = data[position + 1]
        if data[position] != 0xFF:
            return None
        if marker == EOI[1]:
            return position + 2
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == SCAN:
            after_pixels = MARKER.search(data, position)
            if after_pixels is None:
                return None
            position = after_pixels.start()
    return None


def connect(url: str, timeout_s: float) -> Response:
    """Request a URL.

    If the server asks for a user name and a password, send those in the URL, with basic or digest authentication.

    Raises:
        OSError: The server does not respond, or rejects the request.
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        whole = urlunsplit((parts.scheme, host, "/", "", ""))
        passwords.add_password(None, whole, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(
        urllib.request.HTTPBasicAuthHandler(passwords), urllib.request.HTTPDigestAuthHandler(passwords)
    )
    try:
        response: Response = opener.open(urlunsplit(parts._replace(netloc=host)), timeout=timeout_s)
    except urllib.error.HTTPError as error:
        msg = f"the server responded with {error.code} {error.reason}"
        raise OSError(msg) from error
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(str(error)) from error
    return response

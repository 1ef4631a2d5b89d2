"""Find the images in a stream of bytes: consecutive JPEGs, with or without the headers of a multipart message.

Cameras deviate from the standard (RFC 2046) in many ways: no boundary before the first image, a boundary other than
the announced one or none, a wrong length, line feeds without carriage returns, blank lines, or truncated images. A JPEG
is therefore read up to its own end marker. Lengths and boundaries are used for other formats, and to find the next
image after a damaged one.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from orilla.runtime.sources.http_request import MAX_BYTES
from orilla.runtime.sources.jpeg_scanner import JPEG, BrokenJpegError, JpegScanner
from orilla.runtime.sources.source import now_ns

MAX_BETWEEN = 8 << 20
"""Maximum size in bytes of the data between two images: headers, text and the remains of damaged images."""

MAX_LINE = 1 << 12
"""Maximum length of a header line in bytes. Longer lines are not headers."""

CHUNK = 1 << 16

PNG = b"\x89PNG\r\n\x1a\n"
"""First bytes of a PNG. Like a JPEG, a PNG is recognised even if it has no header."""

START_BYTES = 8
"""Number of bytes that `has_images` needs."""

FIELD = re.compile(rb"([A-Za-z0-9_-]{1,64}):(.*)", re.DOTALL)
"""Pattern of a header field."""

STAMPS = (b"x-timestamp", b"timestamp", b"x-image-timestamp")
"""Names of the header fields in which servers such as mjpg-streamer, uStreamer and the ESP32-CAM state the time of an
image, in lower case."""


def has_images(start: bytes) -> bool:
    """Return True if a stream that begins with these bytes consists of JPEGs, with or without multipart headers."""
    return start.startswith(JPEG) or start.lstrip(b"\r\n").lower().startswith((b"--", b"content"))


class Part(NamedTuple):
    """An image as the server sent it."""

    data: bytes | None
    """The encoded image, or None if it was truncated."""
    arrived_ns: int
    """Time at which the first byte of the image arrived, on the monotonic clock, in nanoseconds."""
    waited_ns: int
    """Time in nanoseconds that was spent waiting for bytes of the image and its header."""
    stated_ms: float | None
    """Time of the image according to the server, in milliseconds, or None if the server does not state it."""


class ByteStream:
    """Received bytes that have not been used yet, and the time at which they arrived.

    Args:
        read: Function that returns up to a number of bytes as soon as some have arrived, or no bytes at the end.
        start: Bytes that were received before.
    """

    def __init__(self, read: Callable[[int], bytes], start: bytes = b"") -> None:
        self.buffer = bytearray(start)
        self.waited_ns = 0
        """Time in nanoseconds that was spent waiting for bytes."""
        self._read = read
        self._received, self._taken = len(start), 0
        self._times: deque[tuple[int, int]] = deque([(len(start), now_ns())])
        """For each arrival, the total number of bytes received up to and including it, and its time in nanoseconds."""

    def fill(self) -> None:
        """Wait for more bytes. Raise `EOFError` if the stream has ended."""
        self.arrived_ns()  # Remove the arrivals whose bytes have been used.
        asked_ns = now_ns()
        data = self._read(CHUNK)
        if not data:
            raise EOFError
        arrived_ns = now_ns()
        self.waited_ns += arrived_ns - asked_ns
        self._received += len(data)
        self._times.append((self._received, arrived_ns))
        self.buffer += data

    def take(self, count: int) -> bytes:
        """Remove bytes from the buffer and return them."""
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        self._taken += len(data)
        return data

    def arrived_ns(self) -> int:
        """Return the time at which the first byte in the buffer arrived, in nanoseconds on the monotonic clock."""
        while len(self._times) > 1 and self._times[0][0] <= self._taken:
            self._times.popleft()
        return self._times[0][1]


class ImageParts:
    """The images of a stream, in order.

    Args:
        stream: The received bytes.
        boundary: The boundary that the server announced, with or without leading hyphens. Empty if it announced none.
    """

    def __init__(self, stream: ByteStream, boundary: str = "") -> None:
        self._stream = stream
        self._announced = boundary.encode("latin-1", "replace").strip().strip(b"-")
        self._boundary = self._announced
        """The boundary without leading hyphens: the announced boundary, or the boundary that the server sends."""

    def next(self) -> Part:
        """Wait for the next image and return it.

        Raises:
            EOFError: The stream has ended.
            ValueError: The stream contains no images.
        """
        between = 0
        before_ns = self._stream.waited_ns
        while True:
            fields, size = self._header()
            between += size
            if between > MAX_BETWEEN:
                msg = f"it sent no image within {MAX_BETWEEN} bytes"
                raise ValueError(msg)
            length = _length(fields)
            while len(self._stream.buffer) < len(PNG) and length != 0:
                self._stream.fill()
            arrived_ns = self._stream.arrived_ns()
            if self._stream.buffer.startswith(JPEG):
                data = self._jpeg(length)
                return Part(data, arrived_ns, self._stream.waited_ns - before_ns, _stated_ms(fields))
            if length == 0:
                continue
            other = self._other(length)
            if not fields.get(b"content-type", b"").lower().startswith((b"text/", b"application/json", b"audio/")):
                return Part(other, arrived_ns, self._stream.waited_ns - before_ns, _stated_ms(fields))
            between += len(other)

    def _header(self) -> tuple[dict[bytes, bytes], int]:
        """Read up to the first byte of an image. Return the header fields, and the number of bytes that were read."""
        fields: dict[bytes, bytes] = {}
        size = 0
        while size <= MAX_BETWEEN:
            line = self._line()
            if line is None:
                break
            size += len(line)
            text = line.strip()
            field = FIELD.fullmatch(text)
            if not text and fields:
                self._skip_blank_lines()
                break
            if self._is_boundary(text):
                fields = {}
            elif field is not None:
                fields[field[1].lower()] = field[2].strip()
        return fields, size

    def _line(self) -> bytes | None:
        """Return the next line, or a piece of data that is not a line. Return None if an image begins here."""
        while True:
            buffer = self._stream.buffer
            if buffer.startswith((JPEG, PNG)):
                return None
            end = buffer.find(b"\n")
            image = buffer.find(JPEG, 0, len(buffer) if end < 0 else end)
            if image > 0:
                return self._stream.take(image)
            # The last received bytes could be the start of an image.
            may_be_image = len(buffer) < len(PNG) and (JPEG.startswith(buffer) or PNG.startswith(buffer))
            if end >= 0 and not may_be_image:
                return self._stream.take(end + 1)
            if len(buffer) > MAX_LINE:
                return self._stream.take(len(buffer) - len(JPEG))
            self._stream.fill()

    def _skip_blank_lines(self) -> None:
        """Skip further blank lines between the header and the image. No image format begins with a line break."""
        while True:
            buffer = self._stream.buffer
            count = len(buffer) - len(buffer.lstrip(b"\r\n"))
            self._stream.take(count)
            if buffer:
                return
            self._stream.fill()

    def _is_boundary(self, line: bytes) -> bool:
        """Return True if a line is a boundary: the announced boundary, or any line that begins with two hyphens."""
        name = line.removesuffix(b"--").lstrip(b"-")
        if not name or not (line.startswith(b"--") or name == self._announced):
            return False
        self._boundary = name
        return True

    def _jpeg(self, length: int | None) -> bytes | None:
        """Read a JPEG. Return None if it is truncated."""
        scanner = JpegScanner()
        while True:
            try:
                end = scanner.find_end(self._stream.buffer)
            except BrokenJpegError:
                self._stream.take(self._next_start(len(JPEG), length))
                return None
            if end is not None:
                return self._stream.take(end)
            if length and self._ends_at(length):
                self._stream.take(length)
                return None
            self._check_size()
            self._stream.fill()

    def _ends_at(self, length: int) -> bool:
        """Return True if there is a boundary after `length` bytes."""
        rest = self._stream.buffer[length : length + MAX_LINE].lstrip(b"\r\n")
        return bool(self._boundary) and rest.startswith(b"--") and rest.lstrip(b"-").startswith(self._boundary)

    def _next_start(self, start: int, length: int | None) -> int:
        """Return the position at which the data after a damaged image may begin: a boundary or another image."""
        buffer = self._stream.buffer
        if length and len(buffer) > length and self._ends_at(length):
            return length
        found = [buffer.find(JPEG, start)]
        if self._boundary:
            found.append(buffer.find(b"\n--" + self._boundary, start))
            found.append(buffer.find(b"\n----" + self._boundary, start))
        return min((position for position in found if position >= 0), default=len(buffer))

    def _other(self, length: int | None) -> bytes:
        """Read data that is not a JPEG: `length` bytes, or up to the next boundary."""
        stream = self._stream
        if length is not None:
            if length > MAX_BYTES:
                msg = f"it announced an image of {length} bytes, but at most {MAX_BYTES} are allowed"
                raise ValueError(msg)
            while len(stream.buffer) < length:
                stream.fill()
            return stream.take(length)
        searched = 0
        while True:
            end = stream.buffer.find(b"\n--" + self._boundary, searched)
            if end >= 0:
                return stream.take(end)
            searched = max(0, len(stream.buffer) - len(self._boundary) - 3)
            self._check_size()
            stream.fill()

    def _check_size(self) -> None:
        if len(self._stream.buffer) > MAX_BYTES:
            msg = f"it sent an image that does not end within {MAX_BYTES} bytes"
            raise ValueError(msg)


def _length(fields: dict[bytes, bytes]) -> int | None:
    """Return the stated length of a part, or None if it is missing or not a number."""
    text = fields.get(b"content-length", b"")
    return int(text) if text.isdigit() and len(text) < 20 else None


def _stated_ms(fields: dict[bytes, bytes]) -> float | None:
    """Return the time that the server states for an image, in milliseconds since an unknown origin, or None.

    The server's unit is assumed to be seconds, unless the number is so large that it must be milli-, micro- or
    nanoseconds since 1970.
    """
    for name in STAMPS:
        try:
            value = float(fields.get(name, b""))
        except ValueError:
            continue
        if value >= 1e17:
            return value / 1e6
        if value >= 1e14:
            return value / 1e3
        return value if value >= 1e11 else 1e3 * value
    return None

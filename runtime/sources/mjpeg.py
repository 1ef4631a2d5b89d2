"""Source for cameras that send one JPEG after another, over HTTP (`multipart/x-mixed-replace`) or TCP.

FFmpeg could read such streams too, but it takes a second to start, invents time stamps, uses the size of the first
image for all images, and stops at a damaged image.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.image_file import decode_quietly
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.http_request import Response
from orilla.runtime.sources.multipart import ByteStream, ImageParts
from orilla.runtime.sources.source import now_ns
from orilla.runtime.sources.timestamps import PresentationClock


class MotionJpeg:
    """Delivers the frames of one connection.

    The capture time is the time that the server states in the header of each image, if this time agrees with the clock.
    Otherwise, it is the time at which the first byte of the image arrives.

    Args:
        name: Name of the camera in messages.
        parts: The images.
        close: Function that closes the connection.
        timeout_s: Timeout of the connection in seconds. It is used only in messages.
    """

    live = True
    rate_hz: float | None = None

    def __init__(self, name: str, parts: ImageParts, close: Callable[[], None], timeout_s: float) -> None:
        self._name, self._parts, self._close, self._timeout_s = name, parts, close, timeout_s
        self._corrupt, self._clock = CorruptFrames(name), PresentationClock()
        self._index = 0
        self._pending: Frame | Event | None = None

    @classmethod
    def of(cls, name: str, response: Response, timeout_s: float) -> MotionJpeg:
        """Return the source for a server's response."""
        boundary = response.headers.get_param("boundary", "")
        parts = ImageParts(ByteStream(response.read1), boundary if isinstance(boundary, str) else "")
        return cls(name, parts, response.close, timeout_s)

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        try:
            part = self._parts.next()
        except (OSError, EOFError, http.client.HTTPException, ValueError) as error:
            reason = f": {error}" if isinstance(error, ValueError) else f", or sent nothing for {self._timeout_s:g} s"
            msg = f"{self._name} ended{reason}"
            raise SourceError(msg) from error
        captured_ns = self._clock.captured_ns(part.stated_ms, part.arrived_ns, part.waited_ns)
        image = None if part.data is None else decode_quietly(part.data)
        why = "it is truncated" if part.data is None else "it is damaged, or cannot be decoded"
        item = self._corrupt.check(self._index, image, captured_ns, why)
        self._index += 1
        notice = self._clock.notice()
        if notice is None:
            return item
        self._pending = item
        return Event("time", item.index, now_ns(), f"{self._name}: {notice}")

    def close(self) -> None:
        """Release the source."""
        self._close()

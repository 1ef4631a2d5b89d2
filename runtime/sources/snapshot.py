"""Source for cameras that return their current image on request, as `http://CAMERA/snapshot.jpg`."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, EventKind, Frame
from orilla.runtime.preprocessing.image_file import decode_quietly
from orilla.runtime.sources.capture import CorruptFrames
from orilla.runtime.sources.http_polling import KeepAlive, Reply
from orilla.runtime.sources.jpeg_scanner import is_whole
from orilla.runtime.sources.source import SLICE_S, now_ns

RATE_HZ = 5.0
"""Default number of requests per second. The address can state a different number. A request is never sent before the
reply to the previous request is complete."""

UNCHANGED_S = 30.0
"""Number of seconds after which an image that stays the same is reported."""

MAX_RETRY_S = 30.0
"""Longest time in seconds for which requests pause if a busy server asks for a pause."""


class Clock(NamedTuple):
    """A monotonic clock in nanoseconds, and a function that sleeps for a number of seconds."""

    now_ns: Callable[[], int] = now_ns
    wait: Callable[[float], None] = time.sleep


class Snapshots:
    """Requests the current image of a camera repeatedly. The capture time is the arrival of the reply's headers.

    An image that is the same as the previous one is not a new frame.

    Args:
        name: Name of the camera in messages.
        requests: The connection to the camera.
        first: Reply to the first request.
        rate_hz: Number of requests per second.
        clock: The clock.
    """

    live = True

    def __init__(
        self, name: str, requests: KeepAlive, first: Reply, rate_hz: float, clock: Clock | None = None
    ) -> None:
        self._name, self._requests, self._first = name, requests, first
        self._clock = clock or Clock()
        self._corrupt = CorruptFrames(name)
        self.rate_hz: float | None = rate_hz
        self._period_ns = 1e9 / rate_hz
        self._index, self._body = 0, b""
        self._due_ns = self._changed_ns = self._clock.now_ns()
        self._frozen = False
        self._known: dict[str, str] = {}
        """Header fields of a request that ask the server to send the image only if it has changed."""
        self._pending: Frame | Event | None = None

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            return pending
        left_s = (self._due_ns - self._clock.now_ns()) / 1e9
        if left_s > 0:
            self._clock.wait(min(left_s, SLICE_S))
        if left_s > SLICE_S:
            return self._event("waiting", "the next image is not due yet")
        self._due_ns = max(self._due_ns + int(self._period_ns), self._clock.now_ns())
        return self._used(self._reply())

    def close(self) -> None:
        """Release the source."""
        self._requests.close()

    def _reply(self) -> Reply:
        if self._index == 0 and self._first.body:
            reply, self._first = self._first, self._first._replace(body=b"")
            return reply
        try:
            return self._requests.get(self._known)
        except OSError as error:
            msg = f"{self._name} sent no image: {error or type(error).__name__}"
            raise SourceError(msg) from error

    def _used(self, reply: Reply) -> Frame | Event:
        if reply.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
            text = reply.headers.get("Retry-After", "")
            retry_s = min(float(text), MAX_RETRY_S) if text.isdigit() else 1.0
            self._due_ns = self._clock.now_ns() + int(1e9 * retry_s)
            return self._event("waiting", f"the server responded with {reply.status}")
        if reply.status == HTTPStatus.NOT_MODIFIED or (reply.status == HTTPStatus.OK and reply.body == self._body):
            return self._unchanged()
        if reply.status != HTTPStatus.OK:
            msg = f"{self._name} sent no image: the server responded with {reply.status}"
            raise SourceError(msg)
        self._body, self._changed_ns = reply.body, self._clock.now_ns()
        fields = {"If-None-Match": reply.headers.get("ETag"), "If-Modified-Since": reply.headers.get("Last-Modified")}
        self._known = {name: value for name, value in fields.items() if value}
        if is_whole(reply.body):
            item = self._corrupt.check(self._index, decode_quietly(reply.body), reply.arrived_ns)
        else:
            item = self._corrupt.check(self._index, None, reply.arrived_ns, "it is truncated")
        self._index += 1
        if not self._frozen:
            return item
        self._frozen, self._pending = False, item
        return Event("back", item.index, self._clock.now_ns(), f"the image at {self._name} changes again")

    def _unchanged(self) -> Event:
        if self._frozen or self._clock.now_ns() - self._changed_ns < 1e9 * UNCHANGED_S:
            return self._event("waiting", "the image has not changed")
        self._frozen = True
        return self._event(
            "lost", f"the image at {self._name} has not changed for {UNCHANGED_S:g} s; still requesting it"
        )

    def _event(self, kind: EventKind, detail: str) -> Event:
        return Event(kind, self._index, self._clock.now_ns(), detail)

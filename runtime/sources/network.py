"""Source for network cameras: streams such as RTSP through OpenCV's FFmpeg, and JPEGs over HTTP."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import cv2

from orilla.devices.errors import ConfigError, SourceError, unknown_name
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import CorruptFrames, decoding_threads, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.reconnect import FIRST_WAIT_S, Reconnecting
from orilla.runtime.sources.source import READY_BUFFERS, Source, now_ns
from orilla.runtime.sources.timestamps import PresentationClock
from orilla.runtime.sources.video import VideoFile

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "srt")

MAX_SKIP_S, NEW_SHARE = 2.0, 0.5
"""Frames that the server queued while the stream was opened arrive all at once and are skipped. A frame counts as new
if it takes at least `NEW_SHARE` of a period to arrive. Skipping ends after `MAX_SKIP_S` in any case."""

DEFAULT_RATE_HZ = 30.0
"""Assumed frame rate of a stream that does not state its rate."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits of a network camera."""

    open_ms: int = 5000
    """Time limit for opening a stream, in milliseconds."""
    read_ms: int = 3000
    """Time limit for each frame, in milliseconds."""
    first_wait_s: float = FIRST_WAIT_S
    """Waiting time in seconds before a lost stream is opened again for the first time. Further waiting times are
    longer."""


DEFAULT_TIMEOUTS = Timeouts()


class NetworkStream:
    """Delivers the frames of one connection.

    The capture time is derived from the presentation time if the stream has one. Otherwise, it is the time of arrival.

    Args:
        name: Name of the camera in messages.
        capture: The opened stream.
        read_ms: Timeout of `capture` for each frame in milliseconds. It is used only in messages.
    """

    live = True

    def __init__(self, name: str, capture: cv2.VideoCapture, read_ms: int) -> None:
        self._name, self._capture, self._read_ms = name, capture, read_ms
        self._pool, self._clock, self._corrupt = BufferPool(READY_BUFFERS), PresentationClock(), CorruptFrames(name)
        self._index = 0
        self.rate_hz = rate_of(capture)
        self._fresh = False
        self._last_ms = -1.0

    @staticmethod
    def open(url: str, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> Source:
        """Open a URL. A live stream is reopened when it fails, but a video file is not.

        Raises:
            ConfigError: The URL is invalid.
            SourceError: The server does not respond, or sends no video.
        """
        name = _checked(url)
        opened = _open(url, name, timeouts)
        if not opened.live:
            return opened
        first = [opened]
        return Reconnecting(
            lambda: first.pop() if first else _open(url, name, timeouts), name, first_wait_s=timeouts.first_wait_s
        )

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if not self._grab():
            msg = f"{self._name} ended, or sent nothing for {self._read_ms / 1e3:g} s"
            raise SourceError(msg)
        arrived_ns = now_ns()
        presented_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        timed = presented_ms > self._last_ms >= 0.0
        self._last_ms = presented_ms
        captured_ns = self._clock.captured_ns(presented_ms, arrived_ns) if timed else arrived_ns
        image = retrieve(self._capture, self._pool)
        index = self._index
        self._index += 1
        return self._corrupt.check(index, image, captured_ns)

    def close(self) -> None:
        """Release the source."""
        self._capture.release()

    def _grab(self) -> bool:
        """Take the next frame. The first call skips the frames that were queued while the stream was opened."""
        if self._fresh:
            return bool(self._capture.grab())
        began_ns = now_ns()
        wait_s = NEW_SHARE / (self.rate_hz or DEFAULT_RATE_HZ)
        waited = not self._capture.grab()  # The first frame always takes a long time.
        while not waited:
            started_ns = now_ns()
            if not self._capture.grab():
                return False
            waited = now_ns() - min(started_ns + 1e9 * wait_s, began_ns + 1e9 * MAX_SKIP_S) >= 0
            self._fresh = waited
        return self._fresh


def _checked(url: str) -> str:
    """Return the URL without user name and password, for messages. Raise `ConfigError` if it is not a URL."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        msg = f"source {_redacted(url)} is not a URL: {error}"
        raise ConfigError(msg) from error
    if not host or any(character.isspace() for character in url):
        msg = f"source {_redacted(url)} is not a URL such as rtsp://HOST:8554/NAME or http://HOST/VIDEO"
        raise ConfigError(msg)
    address = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{address}:{port}" if port else address, parts.path, "", ""))


def _redacted(url: str) -> str:
    """Return a malformed URL without the part that may be a password."""
    return re.sub(r"//.*@", "//...@", url)[:200]


def _open(url: str, name: str, timeouts: Timeouts) -> Source:
    """Open one connection. The content type that the server states determines the kind of source."""
    if urlsplit(url).scheme.lower().startswith("http"):
        from urllib.error import URLError

        from orilla.runtime.sources import mjpeg

        try:
            response = mjpeg.connect(url, timeouts.read_ms / 1e3)
        except OSError as error:
            reason = error.reason if isinstance(error, URLError) else error
            msg = f"no video at {name}: {reason}; check the address and the user name, and that the camera is on"
            raise SourceError(msg) from error
        if response.headers.get_content_type() == mjpeg.KIND:
            return mjpeg.MotionJpeg(name, response, timeouts.read_ms / 1e3)
        response.close()
    capture = _connect(url, name, timeouts)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return VideoFile(name, capture)
    return NetworkStream(name, capture, timeouts.read_ms)


def _connect(url: str, name: str, timeouts: Timeouts) -> cv2.VideoCapture:
    settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, timeouts.open_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, timeouts.read_ms]
    settings += decoding_threads(1)  # Each additional thread would delay all frames by one period.
    capture = quiet_capture(url, cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        msg = f"no video at {name}: check the address and the user name, and that the camera is on"
        raise SourceError(msg)
    return capture


def open_source(spec: str) -> Source:
    """Open a URL. Raise `ConfigError` if its scheme is unknown."""
    scheme = spec.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise unknown_name(scheme, SCHEMES, kind="kind of URL")
    return NetworkStream.open(spec)

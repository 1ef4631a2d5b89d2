"""Source for network cameras: streams such as RTSP through OpenCV's FFmpeg, and JPEGs over HTTP."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

import av
import cv2

from orilla.devices.errors import ConfigError, SourceError, unknown_name
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.av_frames import reason_of
from orilla.runtime.sources.capture import CorruptFrames, decoding_threads, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.http_source import open_http
from orilla.runtime.sources.source import READY_BUFFERS, Source, now_ns
from orilla.runtime.sources.time_limit import TimeLimits, open_live
from orilla.runtime.sources.timestamps import PresentationClock
from orilla.runtime.sources.video import VideoFile

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "srt")

MAX_SKIP_S, NEW_SHARE = 2.0, 0.5
"""Frames that the server queued while the stream was opened arrive all at once and are skipped. A frame counts as new
if it takes at least `NEW_SHARE` of a period to arrive. Skipping ends after `MAX_SKIP_S` in any case."""

MIN_POLL_HZ, MAX_POLL_HZ = 0.1, 100.0
"""Smallest and largest number of requests per second for single images."""

DEFAULT_RATE_HZ = 30.0
"""Assumed frame rate of a stream that does not state its rate."""


LIMITS = TimeLimits(open_s=5.0, read_s=5.0)
"""Time limits of a network camera."""


class NetworkStream:
    """Delivers the frames of one connection.

    The capture time is derived from the presentation time if the stream has one. Otherwise, it is the time of arrival.

    Args:
        name: Name of the camera in messages.
        capture: The opened stream.
        read_s: Timeout of `capture` for each frame in seconds. It is used only in messages.
    """

    live = True

    def __init__(self, name: str, capture: cv2.VideoCapture, read_s: float) -> None:
        self._name, self._capture, self._read_s = name, capture, read_s
        self._pool, self._clock, self._corrupt = BufferPool(READY_BUFFERS), PresentationClock(), CorruptFrames(name)
        self._index = 0
        self.rate_hz = rate_of(capture)
        self._fresh = False
        self._last_ms = -1.0

    @staticmethod
    def open(url: str, limits: TimeLimits = LIMITS) -> Source:
        """Open a URL. A live stream is reopened when it fails or hangs, but a video file is not.

        Raises:
            ConfigError: The URL is invalid.
            SourceError: The server does not respond, or sends no video.
        """
        name, rate_hz = _checked(url), _rate_of(url)
        # The libraries have time limits for each transfer. These limits also end a server that sends byte by byte.
        outer = replace(limits, open_s=2 * limits.open_s + limits.read_s, read_s=1.5 * limits.read_s)
        return open_live(lambda: _open(url, name, limits, rate_hz), name, outer)

    def read(self) -> Frame | Event | None:
        """Return the next frame or an event, or None at the end."""
        if not self._grab():
            msg = f"{self._name} ended, or sent nothing for {self._read_s:g} s"
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


def _rate_of(url: str) -> float | None:
    """Return the rate of requests that the end of a URL states, as in `http://CAMERA/snapshot.jpg#rate=2`."""
    name, equals, value = urlsplit(url).fragment.partition("=")
    if name != "rate" or not equals:
        return None
    try:
        rate_hz = float(value)
    except ValueError:
        rate_hz = 0.0
    if not MIN_POLL_HZ <= rate_hz <= MAX_POLL_HZ:
        msg = f"#rate={value[:40]}: give the requests per second, from {MIN_POLL_HZ:g} to {MAX_POLL_HZ:g}"
        raise ConfigError(msg)
    return rate_hz


def _open(url: str, name: str, limits: TimeLimits, rate_hz: float | None) -> Source:
    """Open one connection. The content type that the server states determines the kind of source."""
    if urlsplit(url).scheme.lower().startswith("http"):
        source = open_http(url, name, limits.read_s, rate_hz)
        if source is not None:
            return source
    if rate_hz is not None:
        msg = f"#rate= is only for addresses of single images, but {name} is a video"
        raise ConfigError(msg)
    capture = _connect(url, name, limits)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        capture.release()
        return _file(url, name, limits)
    return NetworkStream(name, capture, limits.read_s)


def _file(url: str, name: str, limits: TimeLimits) -> VideoFile:
    """Open a video file on a server."""
    try:
        return VideoFile(av.open(url, timeout=(limits.open_s, limits.read_s), metadata_errors="ignore"), name)
    except av.FFmpegError as error:
        msg = f"no video at {name}: {reason_of(error)}"
        raise SourceError(msg) from error


def _connect(url: str, name: str, limits: TimeLimits) -> cv2.VideoCapture:
    settings = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        int(1e3 * limits.open_s),
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        int(1e3 * limits.read_s),
    ]
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

"""Source of a network camera: RTSP and other streams through OpenCV's FFmpeg, or JPEG after JPEG over HTTP."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

import cv2

from orilla.devices.errors import ConfigError, SourceError, unknown_name
from orilla.runtime.frame import Event, Frame
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import CorruptFrames, rate_of, retrieved
from orilla.runtime.sources.reconnect import Reconnecting
from orilla.runtime.sources.source import READY_BUFFERS, Source, now_ns
from orilla.runtime.sources.timestamps import PresentationClock
from orilla.runtime.sources.video import VideoFile, decoding_threads, quiet_capture

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "udp", "tcp", "srt")

OPEN_MS, READ_MS = 5000, 3000
"""Time limits for opening a stream and for each frame, milliseconds."""

QUEUED_S, WAITED = 2.0, 0.5
"""Frames that were queued during the opening arrive at once. They are skipped for at most the first number of seconds,
until a frame takes at least the second number, as a share of a period."""

USUAL_RATE_HZ = 30.0
"""Frame rate of a stream that states none."""


class NetworkStream:
    """Frames of one connection, stamped with their presentation time, or with their arrival without one."""

    live = True

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        self._name, self._capture = name, capture
        self._pool, self._clock, self._corrupt = BufferPool(READY_BUFFERS), PresentationClock(), CorruptFrames(name)
        self._index = 0
        self.rate_hz = rate_of(capture)
        self._fresh = False
        self._last_ms = -1.0

    @staticmethod
    def open(url: str) -> Source:
        """Open a URL: a live stream that is reopened when it fails, or a recording that ends.

        Raises:
            ConfigError: The URL is invalid.
            SourceError: Nothing is there, or it has no video.
        """
        name = _checked(url)
        opened = _open(url, name)
        if not opened.live:
            return opened
        first = [opened]
        return Reconnecting(lambda: first.pop() if first else _open(url, name), name)

    def read(self) -> Frame | Event | None:
        if not self._grab():
            msg = f"{self._name} ended, or sent nothing for {READ_MS / 1e3:g} s"
            raise SourceError(msg)
        arrived_ns = now_ns()
        presented_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        timed = presented_ms > self._last_ms >= 0.0
        self._last_ms = presented_ms
        captured_ns = self._clock.captured_ns(presented_ms, arrived_ns) if timed else arrived_ns
        image = retrieved(self._capture, self._pool)
        index = self._index
        self._index += 1
        return self._corrupt.checked(index, image, captured_ns)

    def close(self) -> None:
        self._capture.release()

    def _grab(self) -> bool:
        """Take the next frame. After the opening, take the first one that had to be waited for."""
        if self._fresh:
            return bool(self._capture.grab())
        began_ns = now_ns()
        wait_s = WAITED / (self.rate_hz or USUAL_RATE_HZ)
        waited = not self._capture.grab()  # the first frame always takes long
        while not waited:
            started_ns = now_ns()
            if not self._capture.grab():
                return False
            waited = now_ns() - min(started_ns + 1e9 * wait_s, began_ns + 1e9 * QUEUED_S) >= 0
            self._fresh = waited
        return self._fresh


def _checked(url: str) -> str:
    """Return the URL without its password, for messages. Raises `ConfigError`."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        msg = f"source {_shown(url)} is not a URL: {error}"
        raise ConfigError(msg) from error
    if not host or any(character.isspace() for character in url):
        msg = f"source {_shown(url)} is not a URL: it looks like rtsp://HOST:8554/NAME or http://HOST/VIDEO"
        raise ConfigError(msg)
    where = f"[{host}]" if ":" in host else host
    return urlunsplit((parts.scheme, f"{where}:{port}" if port else where, parts.path, "", ""))


def _shown(url: str) -> str:
    """Return a malformed URL without a possible password."""
    return re.sub(r"//.*@", "//...@", url)[:200]


def _open(url: str, name: str) -> Source:
    """Open one connection, depending on what the server says that it sends."""
    if urlsplit(url).scheme.lower().startswith("http"):
        from urllib.error import URLError

        from orilla.runtime.sources import mjpeg

        try:
            response = mjpeg.connect(url, READ_MS / 1e3)
        except OSError as error:
            reason = error.reason if isinstance(error, URLError) else error
            msg = f"no video at {name}: {reason}; check the address, the user and that the camera is on"
            raise SourceError(msg) from error
        if response.headers.get_content_type() == mjpeg.KIND:
            return mjpeg.MotionJpeg(name, response, READ_MS / 1e3)
        response.close()
    capture = _connect(url, name)
    if capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        return VideoFile(name, capture)
    return NetworkStream(name, capture)


def _connect(url: str, name: str) -> cv2.VideoCapture:
    settings = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
    settings += decoding_threads(1)  # each further thread would delay frames by one
    capture = quiet_capture(url, cv2.CAP_FFMPEG, settings)
    if not capture.isOpened():
        msg = f"no video at {name}: check the address, the user and that the camera is on"
        raise SourceError(msg)
    return capture


def open_source(spec: str) -> Source:
    """Open a URL. Raises `ConfigError` for an unknown scheme."""
    scheme = spec.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise unknown_name(scheme, SCHEMES, kind="kind of URL")
    return NetworkStream.open(spec)

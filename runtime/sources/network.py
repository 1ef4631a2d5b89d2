"""Source for network cameras. The form of the URL determines whether Orilla or FFmpeg receives the stream."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from orilla.devices.errors import ConfigError, SourceError, unknown_name
from orilla.runtime.sources import received_bytes
from orilla.runtime.sources.http_source import Remote, open_http
from orilla.runtime.sources.live_container import explain, is_file, open_received, open_url
from orilla.runtime.sources.live_video import LiveVideo
from orilla.runtime.sources.mjpeg import MotionJpeg
from orilla.runtime.sources.multipart import START_BYTES, ByteStream, ImageParts, has_images
from orilla.runtime.sources.pace import is_recording
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.source import Source
from orilla.runtime.sources.time_limit import TimeLimits, open_live
from orilla.runtime.sources.video import VideoFile
from orilla.runtime.sources.video_container import video_stream

SCHEMES = ("rtsp", "rtsps", "http", "https", "rtmp", "rtmps", "udp", "rtp", "tcp", "srt")

LIMITS = TimeLimits(open_s=5.0, read_s=5.0)
"""Time limits of a network camera."""

MIN_POLL_HZ, MAX_POLL_HZ = 0.1, 100.0
"""Smallest and largest number of requests per second for single images."""


def open_stream(url: str, limits: TimeLimits = LIMITS) -> Source:
    """Open a URL. A live stream is reopened when it fails or hangs, but a video file is not.

    Raises:
        ConfigError: The URL is invalid.
        SourceError: The server does not respond, or sends no video.
    """
    name, rate_hz = _checked(url), _rate_of(url)
    # The libraries limit the time of each transfer only. The limits here also stop a server that sends single bytes
    # slowly.
    outer = replace(limits, open_s=2 * limits.open_s + limits.read_s, read_s=1.5 * limits.read_s)
    return open_live(lambda: _open(url, name, limits, rate_hz), name, outer)


def _checked(url: str) -> str:
    """Return a URL without user name and password, for messages. Raise `ConfigError` if the text is not a URL."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        msg = f"source {_redacted(url)} is not a URL: {error}"
        raise ConfigError(msg) from error
    # `udp://:5000` and `udp://@:5000` receive on all addresses.
    receives = parts.scheme.lower() in ("udp", "rtp") and port is not None
    if not (host or receives) or any(character.isspace() for character in url):
        msg = f"source {_redacted(url)} is not a URL such as rtsp://HOST:8554/NAME or http://HOST/VIDEO"
        raise ConfigError(msg)
    address = f"[{host}]" if host and ":" in host else host or ""
    return urlunsplit((parts.scheme, f"{address}:{port}" if port else address, parts.path, "", ""))


def _redacted(url: str) -> str:
    """Return a malformed URL without the part that may be a password."""
    return re.sub(r"//.*@", "//...@", url)[:200]


def _rate_of(url: str) -> float | None:
    """Return the request rate given at the end of a URL, as in `http://CAMERA/snapshot.jpg#rate=2`."""
    name, equals, value = urlsplit(url).fragment.partition("=")
    if name != "rate" or not equals:
        return None
    try:
        rate_hz = float(value)
    except ValueError:
        rate_hz = 0.0
    if not MIN_POLL_HZ <= rate_hz <= MAX_POLL_HZ:
        msg = f"#rate={value[:40]}: give the number of requests per second, from {MIN_POLL_HZ:g} to {MAX_POLL_HZ:g}"
        raise ConfigError(msg)
    return rate_hz


def _open(url: str, name: str, limits: TimeLimits, rate_hz: float | None) -> Source:
    """Open one connection."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    is_recording = False
    if scheme.startswith("http"):
        opened = open_http(url, name, limits.read_s, rate_hz)
        if isinstance(opened, ReceivedBytes):
            return _received(opened, url, name, limits)
        if not isinstance(opened, Remote):
            return opened
        is_recording = opened is Remote.FILE
    if rate_hz is not None:
        msg = f"#rate= is only for addresses of single images, but {name} is a video"
        raise ConfigError(msg)
    # FFmpeg accepts further options after a question mark.
    if scheme in ("tcp", "udp") and not parts.query:
        try:
            if scheme == "tcp":
                received = received_bytes.tcp(url, limits.open_s, limits.read_s)
            else:
                received = received_bytes.udp(url, limits.read_s)
        except OSError as error:
            msg = f"no video at {name}: {explain(url, error, limits.open_s)}"
            raise SourceError(msg) from error
        return _received(received, url, name, limits)
    return _opened(url, name, limits, is_recording=is_recording)


def _opened(url: str, name: str, limits: TimeLimits, *, is_recording: bool) -> Source:
    """Return the source for a URL that FFmpeg reads itself."""
    container = open_url(url, name, limits, is_recording=is_recording)
    try:
        is_recording = is_recording or is_file(container)
        return VideoFile(container, name) if is_recording else LiveVideo(container, name, limits.read_s)
    except BaseException:
        container.close()
        raise


def _received(received: ReceivedBytes, url: str, name: str, limits: TimeLimits) -> Source:
    """Return the source for bytes that Orilla receives: consecutive images, or a video."""
    try:
        start = received.peek(START_BYTES)
    except OSError as error:
        received.close()
        msg = f"no video at {name}: {explain(url, error, limits.read_s)}"
        raise SourceError(msg) from error
    if has_images(start):
        return MotionJpeg(name, ImageParts(ByteStream(received.read)), received.close, limits.read_s)
    container = open_received(received, url, name, limits.open_s)
    is_http = urlsplit(url).scheme.lower().startswith("http")
    first: list[Packet[VideoStream]] = []
    try:
        ends = is_file(container) or (is_http and _ends(container, name, received, first))
        if not ends:
            return LiveVideo(container, name, limits.read_s, received, first)
    except BaseException:
        container.close()
        received.close()
        raise
    container.close()
    received.close()
    return _recording(url, name, limits) if is_http else _opened(url, name, limits, is_recording=True)


def _recording(url: str, name: str, limits: TimeLimits) -> Source:
    """Request a recording of unknown length again, because its first frames have been read.

    Orilla receives it, because FFmpeg reports an error at the end of a response of unknown length.
    """
    received = open_http(url, name, limits.read_s)
    if not isinstance(received, ReceivedBytes):
        msg = f"{name} sent something else when it was requested again"
        raise SourceError(msg)
    container = open_received(received, url, name, limits.open_s, is_recording=True)
    try:
        return VideoFile(container, name, received=received)
    except BaseException:
        container.close()
        received.close()
        raise


def _ends(container: InputContainer, name: str, received: ReceivedBytes, read: list[Packet[VideoStream]]) -> bool:
    """Return True if a response without a length is a recording. Append the packets that were read to `read`."""
    ends = is_recording(container, video_stream(container, name), read)
    return ends and not isinstance(received.error, TimeoutError)


def open_source(spec: str) -> Source:
    """Open a URL. Raise `ConfigError` if its scheme is unknown."""
    scheme = spec.partition("://")[0].lower()
    if scheme not in SCHEMES:
        raise unknown_name(scheme, SCHEMES, kind="kind of URL")
    return open_stream(spec)

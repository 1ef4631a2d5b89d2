"""Open a stream with PyAV, and explain why a stream cannot be opened."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import NoReturn
from urllib.parse import urlsplit

import av
from av.container import InputContainer

from orilla.devices.errors import SourceError
from orilla.runtime.sources.av_frames import reason_of
from orilla.runtime.sources.received_bytes import ReceivedBytes
from orilla.runtime.sources.source import now_ns
from orilla.runtime.sources.time_limit import TimeLimits

PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,srtp,rtmp,rtmps,httpproxy,crypto,data,srt"
"""Protocols that a stream may use. A playlist from the network must not open files on this machine."""

LIVE_OPTIONS = {"flags": "low_delay", "fpsprobesize": "0", "protocol_whitelist": PROTOCOLS}
"""FFmpeg's options for live streams: the decoder returns each frame as soon as it can, and FFmpeg reads no frames in
advance to estimate the frame rate."""

FILE_OPTIONS = {"protocol_whitelist": PROTOCOLS}
"""FFmpeg's options for video files that are read from a URL."""

RTSP_OPTIONS = {"rtsp_flags": "prefer_tcp"}
"""FFmpeg's options for RTSP: use TCP, which loses no packets, and UDP only if the server rejects TCP."""

REASONS: dict[type[Exception], str] = {
    av.HTTPUnauthorizedError: "the server responded with 401 Unauthorized: put the user name and the password into the "
    "URL",
    av.HTTPForbiddenError: "the server responded with 403 Forbidden: this user may not see the stream",
    av.HTTPNotFoundError: "the server responded with 404 Not Found: check the path of the address",
    av.InvalidDataError: "the server sent something that is not a video, or a damaged one",
    av.EOFError: "the server closed the connection without sending a video",
}
"""Reason and advice for each error of FFmpeg."""

PROBE_SHARE = 2.0
"""Longest time in which FFmpeg may examine the beginning of a stream, as a multiple of the time limit for opening it.
The parameters of a video may arrive only with its next keyframe."""

ADVICE = "check the address and the user name, and that the camera is on"


def open_url(url: str, name: str, limits: TimeLimits, *, is_recording: bool = False) -> InputContainer:
    """Open a URL, which FFmpeg reads itself.

    Args:
        url: The address, with user name and password.
        name: Name of the camera in messages.
        limits: Time limits of the stream.
        is_recording: True if the URL is known to be a video file.

    Raises:
        SourceError: The server does not respond, or sends no video.
    """
    rtsp = RTSP_OPTIONS if urlsplit(url).scheme.lower().startswith("rtsp") else {}
    timeout = limits.open_s, limits.read_s
    started_ns = now_ns()
    try:
        options = (FILE_OPTIONS if is_recording else LIVE_OPTIONS) | rtsp
        container = av.open(url, "r", options=options, timeout=timeout, metadata_errors="ignore")
        if is_file(container) and not is_recording:
            container.close()
            container = av.open(url, "r", options=FILE_OPTIONS | rtsp, timeout=timeout, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        # FFmpeg reports some timeouts as invalid data.
        late = now_ns() - started_ns > 0.95e9 * limits.open_s
        _refuse(url, name, TimeoutError() if late else error, limits.open_s)
    return container


def is_file(container: InputContainer) -> bool:
    """Return True if a container is a recording and not a live stream. Only a recording has a known duration."""
    return container.duration is not None and container.duration > 0


def open_received(
    received: ReceivedBytes, url: str, name: str, open_s: float, *, is_recording: bool = False
) -> InputContainer:
    """Open a video whose bytes Orilla receives.

    Args:
        received: The bytes.
        url: The address.
        name: Name of the camera in messages.
        open_s: Time limit in seconds.
        is_recording: True if the bytes are known to be a recording.

    Raises:
        SourceError: The bytes are not a video.
    """
    received.ends_ns = now_ns() + int(1e9 * PROBE_SHARE * open_s)
    try:
        options = FILE_OPTIONS if is_recording else LIVE_OPTIONS
        return av.open(received, "r", options=options, metadata_errors="ignore")
    except (av.FFmpegError, ValueError) as error:
        received.close()
        _refuse(url, name, received.error or error, open_s)
    finally:
        received.ends_ns = None


def explain(url: str, error: Exception, open_s: float) -> str:
    """Return the reason why a URL could not be opened, and what to do.

    Args:
        url: The address.
        error: Error of FFmpeg or of a socket.
        open_s: Time limit for opening the stream in seconds.
    """
    parts = urlsplit(url)
    if isinstance(error, av.ExitError | TimeoutError):
        return f"no response within {open_s:g} s; {ADVICE}"
    if isinstance(error, av.ProtocolNotFoundError):
        return f"the installed PyAV has no {parts.scheme.upper()}: send the stream over RTSP or UDP instead"
    if isinstance(error, av.InvalidDataError | av.DemuxerNotFoundError) and parts.path.lower().endswith(".mpd"):
        return "PyAV's wheels cannot read DASH: use the camera's HLS (.m3u8) or RTSP address"
    for kind, reason in REASONS.items():
        if isinstance(error, kind):
            return reason
    if isinstance(error, OSError) and parts.hostname:
        # FFmpeg reports an unknown host as an input/output error.
        with suppress(UnicodeError):
            try:
                socket.getaddrinfo(parts.hostname, None)
            except socket.gaierror as unknown:
                return f"unknown host {parts.hostname} ({unknown.strerror})"
    return f"{reason_of(error)}; {ADVICE}"


def _refuse(url: str, name: str, error: Exception, open_s: float) -> NoReturn:
    msg = f"no video at {name}: {explain(url, error, open_s)}"
    raise SourceError(msg) from error

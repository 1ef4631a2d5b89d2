"""Bytes that a camera sends over TCP, UDP or HTTP, with their times of arrival."""

from __future__ import annotations

import ipaddress
import socket
import struct
from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from http.client import HTTPException
from urllib.parse import urlsplit

from orilla.runtime.sources.source import now_ns

MAX_ARRIVALS = 1 << 14
"""Maximum number of arrivals whose times are stored. Decoders never buffer the data of more arrivals."""

UDP_BUFFER = 4 << 20
"""Requested size of the system's buffer for datagrams in bytes. It must hold the largest frame."""

MAX_DATAGRAM = 1 << 16


class ReceivedBytes:
    """A file-like object for PyAV that notes when each byte arrived.

    Some demuxers return a frame only when the next frame has begun. The time at which the first byte of a frame arrived
    is therefore looked up by its position in the stream.

    Args:
        receive: Function that waits for bytes and returns them, or returns no bytes at the end.
        close: Function that closes the connection.
    """

    def __init__(self, receive: Callable[[], bytes], close: Callable[[], None]) -> None:
        self.error: OSError | HTTPException | None = None
        """The error that ended the stream, if there was one."""
        self.ends_ns: int | None = None
        """Time on the monotonic clock, in nanoseconds, after which `read` returns no more bytes. None if there is no
        limit."""
        self._receive, self._close = receive, close
        self._rest = b""
        self._received = 0
        self._starts: deque[int] = deque(maxlen=MAX_ARRIVALS)
        """Position of the first byte of each arrival."""
        self._times: deque[int] = deque(maxlen=MAX_ARRIVALS)

    def peek(self, count: int = 1) -> bytes:
        """Wait until there are `count` bytes that have not been read, or the stream ends.

        Return all of them. They remain unread.
        """
        while len(self._rest) < count and self._fill():
            pass
        return self._rest

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes as soon as some have arrived, or no bytes at the end."""
        if self.ends_ns is not None and now_ns() > self.ends_ns:
            return b""
        if not self._rest:
            try:
                self._fill()
            except (OSError, HTTPException) as error:  # Keep the error, because PyAV would hide the reason.
                self.error = error
        data = self._rest if count < 0 else self._rest[:count]
        self._rest = self._rest[len(data) :]
        return data

    def arrived_ns(self, position: int) -> int | None:
        """Return the time in nanoseconds at which the byte at a position arrived, or None if it is no longer stored."""
        place = bisect_right(self._starts, position) - 1
        return self._times[place] if place >= 0 else None

    def close(self) -> None:
        """Close the connection."""
        self._close()

    def _fill(self) -> bool:
        """Wait for more bytes. Return False at the end."""
        data = self._receive()
        self._starts.append(self._received)
        self._times.append(now_ns())
        self._received += len(data)
        self._rest += data
        return bool(data)


def tcp(url: str, open_s: float, read_s: float) -> ReceivedBytes:
    """Connect to the server of a URL. Raise `OSError` if it does not respond."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 0), open_s)
    connection.settimeout(read_s)
    return ReceivedBytes(lambda: connection.recv(MAX_DATAGRAM), connection.close)


def udp(url: str, read_s: float) -> ReceivedBytes:
    """Receive the datagrams that are sent to the port of a URL, whose host may be a multicast group.

    Raises:
        OSError: The port is in use, or the host is unknown.
    """
    parts = urlsplit(url)
    family, _, _, _, target = socket.getaddrinfo(parts.hostname or "0.0.0.0", parts.port or 0, type=socket.SOCK_DGRAM)[
        0
    ]
    group = ipaddress.ip_address(str(target[0]).partition("%")[0])
    connection = socket.socket(family, socket.SOCK_DGRAM)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER)
        if group.is_multicast:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A socket that is bound to all addresses also receives datagrams of groups that other sockets here have joined.
        connection.bind(target if group.is_multicast else ("", target[1]))
        if group.is_multicast and family == socket.AF_INET:
            member = struct.pack("4sI", group.packed, socket.INADDR_ANY)
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        elif group.is_multicast:
            member = group.packed + struct.pack("@I", target[3] if len(target) > 3 else 0)
            connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, member)
        connection.settimeout(read_s)
    except BaseException:
        connection.close()
        raise
    return ReceivedBytes(lambda: connection.recv(MAX_DATAGRAM), connection.close)

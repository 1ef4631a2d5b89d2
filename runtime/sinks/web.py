"""Sink that shows frames, times and events of the loop on a web page."""

from __future__ import annotations

import errno
import ipaddress
import socket

import msgspec

from orilla.devices.errors import MissingExtraError, OutputError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.address import Address, parse_address
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.web_access import Access, open_access
from orilla.runtime.sinks.web_board import Board

NEEDS_TARGET = False
REOPENS = True

DEFAULT = Address("127.0.0.1", 8080)
"""Default address of the server, which can be reached only from this machine."""

LEAST_QUALITY, MOST_QUALITY = 1, 100
"""Range of the JPEG quality."""

LEAST_SIDE = 16
"""Smallest permitted value of `max_side`, in pixels."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    fps: float = 15.0
    """Maximum number of pictures per second for each source. The loop itself is not limited."""
    quality: int = 75
    """JPEG quality, 1–100."""
    max_side: int = 1280
    """Maximum width and height of the pictures in pixels. Larger frames are scaled down."""
    token_file: str | None = None
    """File whose first line is the token that viewers must send."""
    name: str | None = None
    """Additional host name of this machine that browsers may use, such as `rover.lan`."""

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000:
            msg = f"fps={self.fps:g}: expected a number above 0, up to 1000"
            raise ValueError(msg)
        if not LEAST_QUALITY <= self.quality <= MOST_QUALITY:
            msg = f"quality={self.quality}: expected a number from {LEAST_QUALITY} to {MOST_QUALITY}"
            raise ValueError(msg)
        if self.max_side < LEAST_SIDE:
            msg = f"max_side={self.max_side}: expected {LEAST_SIDE} or more"
            raise ValueError(msg)


class Web(Sink):
    """Serves the newest tick of each source. `write` only replaces the newest tick, and other threads draw it."""

    def __init__(self, listener: socket.socket, access: Access, options: Options) -> None:
        from orilla.runtime.sinks.web_pictures import PictureOptions
        from orilla.runtime.sinks.web_server import WebServer

        self._board = Board()
        pictures = PictureOptions(options.fps, options.quality, options.max_side)
        host, port = listener.getsockname()[:2]
        self.address = Address(host, port)
        """Address of the server."""
        self._server = WebServer(listener, self._board, access, pictures)

    def write(self, tick: Tick) -> bool:
        """Replace the newest tick."""
        if self._server.failure is not None:
            raise OutputError(self._server.failure)
        self._board.add(tick)
        return True

    def event(self, event: Event) -> None:
        """Add an event to the list on the page."""
        self._board.add_event(event)

    def close(self) -> None:
        """Tell the viewers that the loop has ended, and stop the server."""
        self._server.close()


def open_sink(target: str, options: Options, setup: Setup) -> Web:
    """Start the server on the address `target`, which may be empty, a port, or a host and a port.

    Raises:
        MissingExtraError: aiohttp is not installed.
        ConfigError: The target is not an address, or the token cannot be used.
        OutputError: The port is in use, or the host is not an address of this machine.
    """
    address = parse_address(target, DEFAULT, usage="web[:[HOST:]PORT]")
    try:
        import aiohttp  # noqa: F401
    except ImportError as error:
        msg = "aiohttp"
        raise MissingExtraError(msg, "web") from error
    listener = _listen(address)
    try:
        host, port = listener.getsockname()[:2]
        is_local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
        access = open_access(address.host, options.token_file, options.name, is_local=is_local)
        web = Web(listener, access, options)
    except BaseException:
        listener.close()
        raise
    setup.report(f"serves {access.url(host, port)}")
    return web


def _listen(address: Address) -> socket.socket:
    """Return a socket that listens on an address."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # `localhost` has an IPv4 and an IPv6 address. Most programs try IPv4 first.
        family, _, _, _, place = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        listener = socket.create_server(place[:2], family=family, backlog=64)
    except OSError as error:
        raise OutputError(_reason(error, address)) from error
    return listener


def _reason(error: OSError, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program uses port {address.port} of {address.host}: choose another one, as in web:8081"
    if error.errno == errno.EACCES:
        return f"port {address.port} is reserved for the system: choose one above 1023, as in web:8080"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is not an address of this machine: give 0.0.0.0 for all its addresses"
    return f"cannot listen at {address}: {error.strerror or error}"

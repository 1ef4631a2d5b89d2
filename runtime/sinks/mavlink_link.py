"""Connections over which the sink `mavlink` sends: UDP, TCP and serial ports.

The connections of `pymavlink` itself are not used, because they hide errors.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from orilla.devices.errors import ConfigError, MissingExtraError, OutputError
from orilla.runtime.sinks.address import Address, parse_address

USAGE = "mavlink:udpout:HOST:PORT, mavlink:tcp:HOST:PORT or mavlink:/dev/DEVICE"

CONNECT_S, SEND_S = 5.0, 2.0
"""Timeouts in seconds: for connecting, and for sending one message."""

SILENT_S = 2.0
"""A UDP receiver counts as present after this number of seconds without a rejected packet."""

PORT = 14550
"""Usual port of ground stations and autopilots."""


class Link(Protocol):
    """A connection. The packer of `pymavlink` calls `write`."""

    def write(self, data: bytes) -> None:
        """Send one message. Raise `OSError` if the connection is lost."""

    def drain(self) -> None:
        """Discard received data, so that the other side does not block. Raise `OSError` if it closed the connection."""

    def close(self) -> None:
        """Close the connection."""


class UdpLink:
    """Sends one UDP packet per message. If no program listens, the first rejected packet is reported."""

    def __init__(self, address: Address, report: Callable[[str], None]) -> None:
        self._address, self._report = address, report
        self._refused_s: float | None = None
        family, kind, protocol, _, place = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0]
        self._socket = socket.socket(family, kind, protocol)
        self._socket.settimeout(SEND_S)
        try:
            self._socket.connect(place)
        except OSError:
            self._socket.close()
            raise

    def write(self, data: bytes) -> None:
        """Send one packet."""
        try:
            self._socket.send(data)
        except ConnectionRefusedError:
            if self._refused_s is None:
                self._report(f"no program listens at {self._address}; messages are lost until one does")
            self._refused_s = time.monotonic()
            # The system reported the rejection of an earlier packet instead of sending this one, so send it again.
            with suppress(ConnectionRefusedError):
                self._socket.send(data)
            return
        if self._refused_s is not None and time.monotonic() - self._refused_s >= SILENT_S:
            self._refused_s = None
            self._report(f"a program listens at {self._address} again")

    def drain(self) -> None:
        """Do nothing, because the system discards packets that nobody reads."""

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class TcpLink:
    """Sends over a TCP connection."""

    def __init__(self, address: Address) -> None:
        self._socket = socket.create_connection(address, CONNECT_S)
        self._socket.settimeout(SEND_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, data: bytes) -> None:
        """Send one message."""
        self._socket.sendall(data)

    def drain(self) -> None:
        """Discard what was received."""
        try:
            while self._socket.recv(65536, socket.MSG_DONTWAIT):
                pass
        except BlockingIOError:
            return
        raise ConnectionResetError(errno.ECONNRESET, "the connection was closed by the other side")

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


class SerialLink:
    """Sends over a serial port."""

    def __init__(self, device: str, baud: int) -> None:
        try:
            import serial
        except ImportError as error:
            msg = "pyserial"
            raise MissingExtraError(msg, "mavlink") from error
        self._port: Any = serial.Serial(device, baud, timeout=0, write_timeout=SEND_S, exclusive=True)

    def write(self, data: bytes) -> None:
        """Send one message."""
        self._port.write(data)

    def drain(self) -> None:
        """Discard what was received."""
        self._port.reset_input_buffer()

    def close(self) -> None:
        """Close the port."""
        self._port.close()


def check_target(target: str) -> None:
    """Raise `ConfigError` if the target is invalid."""
    kind, colon, place = target.partition(":")
    if kind in ("udpout", "tcp") and colon:
        _address(place)
    elif not target.startswith("/dev/"):
        msg = f"sink `mavlink`: {target!r} is not a connection: give {USAGE}"
        raise ConfigError(msg)


def open_link(target: str, baud: int, report: Callable[[str], None]) -> Link:
    """Open a connection.

    Raises:
        OutputError: It cannot be opened.
    """
    kind, _, place = target.partition(":")
    try:
        if kind == "udpout":
            return UdpLink(_address(place), report)
        if kind == "tcp":
            return TcpLink(_address(place))
        return SerialLink(target, baud)
    except MissingExtraError:
        raise
    except (OSError, ValueError) as error:
        raise link_error(target, error) from error


def link_error(target: str, error: Exception) -> OutputError:
    """Return an error that states which connection failed, and why."""
    reason = str(getattr(error, "strerror", None) or error)
    if isinstance(error, TimeoutError) or "timeout" in reason.lower():
        reason = "no response in time"
    if getattr(error, "errno", None) == errno.ENOENT:
        reason = "there is no such device; connect it, or give another one"
    elif getattr(error, "errno", None) == errno.EACCES:
        reason = "permission denied; add the user to the group dialout"
    return OutputError(f"MAVLink over {target}: {reason[0].lower()}{reason[1:]}")


def _address(text: str) -> Address:
    address = parse_address(text, Address("", PORT), usage=USAGE)
    if not address.host or not address.port:
        msg = f"sink `mavlink`: {text!r} needs a host and a port: give {USAGE}"
        raise ConfigError(msg)
    return address

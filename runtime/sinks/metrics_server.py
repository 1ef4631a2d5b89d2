"""The HTTP server of the sink `metrics`."""

from __future__ import annotations

import errno
import socket
import socketserver
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from orilla.devices.errors import OutputError
from orilla.runtime.sinks.address import Address


class Handler(WSGIRequestHandler):
    """Handles one request without logging it."""

    timeout = 10.0
    """Number of seconds after which an idle connection is closed."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the inherited name
        """Log nothing."""


class MetricsServer(socketserver.ThreadingMixIn, WSGIServer):
    """Serves the metrics of a registry. Each request is handled in its own thread.

    Args:
        address: Address of the server. If the port is 0, the operating system chooses a free one.
        registry: The metrics.

    Raises:
        OutputError: The server cannot listen on the address. The message says what to do.
    """

    daemon_threads = True

    def __init__(self, address: Address, registry: CollectorRegistry) -> None:
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((address.host, address.port), Handler)
        except OSError as error:
            raise OutputError(_reason(error, address)) from error
        self.set_app(make_wsgi_app(registry))

    @property
    def address(self) -> Address:
        """Return the address of the server."""
        host, port = self.socket.getsockname()[:2]
        return Address(host, port)

    def server_bind(self) -> None:
        """Bind the address. Unlike the inherited method, do not look up the host name of the machine."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.address
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that disconnects early."""


def _reason(error: OSError, address: Address) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program uses port {address.port} of {address.host}: choose another port, as in metrics:9465"
    if error.errno == errno.EACCES:
        return f"port {address.port} is reserved for the operating system: choose one above 1023, as in metrics:9464"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{address.host} is not an address of this machine: give 0.0.0.0 to use all its addresses"
    return f"cannot listen at {address}: {error.strerror or error}"

"""Sink that serves metrics of the loop to Prometheus."""

from __future__ import annotations

import threading

import msgspec

from orilla.devices.errors import MissingExtraError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.address import Address, parse_address
from orilla.runtime.sinks.options import Duration
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = False
REOPENS = True

DEFAULT = Address("127.0.0.1", 9464)
"""Address of the server. The port is the default of OpenTelemetry's Prometheus exporters."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the sink."""

    stale: Duration = Duration(5)
    """Number of seconds without an answer after which the loop counts as unhealthy."""


class Metrics(Sink):
    """Serves the metrics of one loop over HTTP."""

    def __init__(self, address: Address, options: Options, setup: Setup) -> None:
        from orilla.runtime.sinks.metrics_server import MetricsServer
        from orilla.runtime.sinks.metrics_table import MetricsTable

        self._table = MetricsTable(options.stale)
        self._server = MetricsServer(address, self._table.registry)
        self._thread = threading.Thread(target=self._server.serve_forever, name="orilla-metrics", daemon=True)
        self._thread.start()
        if address.port == 0:
            setup.report(f"serving http://{self._server.address}/metrics")

    @property
    def address(self) -> Address:
        """Return the address of the server."""
        return self._server.address

    def write(self, tick: Tick) -> bool:
        """Update the metrics with one tick."""
        self._table.add(tick)
        return True

    def event(self, event: Event) -> None:
        """Count an event."""
        self._table.count(event)

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def open_sink(target: str, options: Options, setup: Setup) -> Metrics:
    """Start the server on the address `target`, which may be empty, a port, or a host and a port.

    Raises:
        MissingExtraError: prometheus-client is not installed.
        ConfigError: The target is not an address.
        OutputError: The port is in use, or the host is not an address of this machine.
    """
    address = parse_address(target, DEFAULT, usage="metrics[:[HOST:]PORT]")
    try:
        import prometheus_client  # noqa: F401
    except ImportError as error:
        msg = "prometheus-client"
        raise MissingExtraError(msg, "metrics") from error
    return Metrics(address, options, setup)

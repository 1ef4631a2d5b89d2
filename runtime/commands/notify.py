"""Report to systemd that the loop is running, so that systemd can supervise the service.

Source: `sd_notify(3)`: datagrams with lines such as `READY=1` to the socket in `NOTIFY_SOCKET`.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

STATUS_S = 5.0
"""Interval in seconds between two status lines."""


class ServiceNotifier:
    """Context manager that reports the state of the loop to systemd while the loop runs.

    The notifier resets the watchdog of the service as long as answers arrive. It also does so while a source is lost,
    because the loop then works as intended and waits for the source. If the loop hangs, the watchdog expires, and
    systemd restarts the service. Outside a service, the notifier does nothing.

    Args:
        status: Function that returns one line about the loop.
    """

    def __init__(self, status: Callable[[], str]) -> None:
        self._status = status
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._period_s = _watchdog_s()
        self._lost: set[str | None] = set()
        self._ticked_s = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orilla-notify", daemon=True)

    def ticked(self) -> None:
        """Record that an answer arrived."""
        self._ticked_s = time.monotonic()

    def event(self, kind: str, source: str | None) -> None:
        """Record an event of a source."""
        if kind == "lost":
            self._lost.add(source)
        elif kind == "back":
            self._lost.discard(source)

    def __enter__(self) -> ServiceNotifier:
        if self._address:
            self._send("READY=1")
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._address:
            self._send("STOPPING=1")
            self._thread.join()

    def _run(self) -> None:
        step_s = min(STATUS_S, self._period_s / 3) if self._period_s else STATUS_S
        told_s = 0.0
        while not self._over.wait(step_s):
            now_s = time.monotonic()
            if self._period_s and (self._lost or now_s - self._ticked_s < self._period_s):
                self._send("WATCHDOG=1")
            if now_s - told_s >= STATUS_S:
                self._send(f"STATUS={self._status()}")
                told_s = now_s

    def _send(self, line: str) -> None:
        # An address that begins with @ belongs to the abstract namespace of sockets.
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(0)  # Do not wait.
                sender.sendto(line.encode(), address)
        except OSError:
            pass  # The loop must continue if systemd is restarted or does not read the socket.


def _watchdog_s() -> float:
    """Return the timeout of the watchdog in seconds, or 0 if this process has no watchdog."""
    try:
        seconds = int(os.environ.get("WATCHDOG_USEC", "0")) / 1e6
        process = int(os.environ.get("WATCHDOG_PID", str(os.getpid())))
    except ValueError:
        return 0.0
    return seconds if process == os.getpid() else 0.0

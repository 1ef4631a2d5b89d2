"""Measure how much the viewers of the sink `web` slow the loop down.

    python tests/perf/web.py [--rounds 40] [--seconds 1] [--viewers 16] [--size 480x640] [--rate 30] [--json]

The shipped road model processes the same image as fast as it can, so everything that the sink computes slows the loop
down. Each round measures the loop in three phases, in random order: without the sink (`without`), with the sink and no
viewer (`idle`), and with viewers (`watched`). The viewers read MJPEG in a separate process on the same machine. The
ratios compare the sums over all rounds; their 95 % intervals are a bootstrap over the rounds.

`--rate 30` limits the loop to 30 frames per second, as a camera does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import socket
import subprocess
import sys
import time

import numpy as np

import orilla.runtime
from orilla.runtime import scenes
from orilla.runtime.frame import Frame
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup

SETTLE_S = 0.3
"""Time in seconds at the start of each phase that is not measured. The viewers connect or leave in this time."""

RESAMPLES = 2000
"""Number of resamples of the bootstrap."""


class Still:
    """Source that returns the same image, immediately or at a rate."""

    live = False

    def __init__(self, image: np.ndarray, rate_hz: float | None) -> None:
        self._image, self.rate_hz, self._index = image, rate_hz, 0
        self._due = 0.0

    def read(self) -> Frame:
        if self.rate_hz is not None:
            now = time.monotonic()
            time.sleep(max(0.0, self._due - now))
            self._due = max(self._due, now) + 1 / self.rate_hz
        self._index += 1
        return Frame(self._index - 1, self._image, time.monotonic_ns())

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def watch(port: int) -> None:
    """For each line of standard input, close all streams, and open and read the number of streams in the line.

    At the end of standard input, print the number of received bytes.
    """
    selector = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    clients: list[socket.socket] = []
    count, buffer = 0, bytearray(1 << 20)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                line = sys.stdin.readline()
                for client in clients:
                    selector.unregister(client)
                    client.close()
                if not line:
                    print(count)
                    return
                clients = [connected(port) for _ in range(int(line))]
                for client in clients:
                    selector.register(client, selectors.EVENT_READ)
                break  # The streams of the other selected keys may already be closed.
            assert isinstance(key.fileobj, socket.socket)
            count += key.fileobj.recv_into(buffer)
        time.sleep(0.02)  # Larger parts cost less.


def connected(port: int) -> socket.socket:
    """Return a connection to a stream."""
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return client


class Phases:
    """Changes the phase of a running loop, and measures each one."""

    def __init__(self, peers: subprocess.Popen[str], options: argparse.Namespace) -> None:
        self._peers, self._options = peers, options
        cases = ("without", "idle", "watched")
        self._waiting = [name for _ in range(options.rounds) for name in random.sample(cases, len(cases))]
        self.fps: dict[str, list[float]] = {name: [] for name in cases}
        """Answers per second of each round."""
        self.cpu_ms: dict[str, list[float]] = {name: [] for name in cases}
        """CPU time of the loop's process in milliseconds per second, of each round."""
        self._begin()

    @property
    def uses_sink(self) -> bool:
        """Return True if the sink receives the ticks of this phase."""
        return self._name != "without"

    def count(self) -> bool:
        """Count one answer. Return False at the end of the last phase."""
        now = time.monotonic()
        if self._began is None:
            if now - self._started >= SETTLE_S:
                self._began, self._cpu_s, self._count = now, time.process_time(), 0
            return True
        self._count += 1
        seconds = now - self._began
        if seconds < self._options.seconds:
            return True
        self.fps[self._name].append(self._count / seconds)
        self.cpu_ms[self._name].append(1e3 * (time.process_time() - self._cpu_s) / seconds)
        return bool(self._waiting) and self._begin()

    def _begin(self) -> bool:
        self._name = self._waiting.pop(0)
        assert self._peers.stdin is not None
        self._peers.stdin.write(f"{self._options.viewers if self._name == 'watched' else 0}\n")
        self._peers.stdin.flush()
        self._started, self._began = time.monotonic(), None
        return True

    _began: float | None = None
    _cpu_s: float = 0.0
    _count: int = 0


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Return the rates and their ratios."""
    height, width = (int(part) for part in options.size.split("x"))
    image = scenes.render(3, 0.0, (height, width))[0]
    told: list[str] = []
    with (
        orilla.runtime.open("road") as model,
        model.stream(Still(image, options.rate), policy="every") as stream,
        Sinks([sink_opener("web:0")], Setup(live=True), lambda event: told.append(event.detail)) as sinks,
    ):
        sinks.write(next(stream))
        command = [sys.executable, __file__, "--watch", str(port_of(told[0]))]
        peers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        phases = Phases(peers, options)
        for tick in stream:
            if phases.uses_sink:
                sinks.write(tick)
            if not phases.count():
                break
        received = int(peers.communicate(timeout=20)[0])
    without = phases.fps["without"]
    return {
        "viewers": options.viewers,
        "fps": {name: round(float(np.mean(values)), 1) for name, values in phases.fps.items()},
        "cpu_ms_per_s": {name: round(float(np.mean(values))) for name, values in phases.cpu_ms.items()},
        "ratio": {name: ratio(phases.fps[name], without) for name in ("idle", "watched")},
        "received_mb_per_s": round(received / 1e6 / (options.rounds * (options.seconds + SETTLE_S)), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def ratio(values: list[float], plain: list[float]) -> list[float]:
    """Return the ratio of the sums, and the ends of its 95 % interval."""
    pairs = np.array([values, plain])
    rounds = np.random.default_rng(1).integers(0, len(plain), (RESAMPLES, len(plain)))
    sums = pairs[:, rounds].sum(axis=2)
    low, high = np.percentile(sums[0] / sums[1], (2.5, 97.5))
    return [round(float(value), 3) for value in (pairs[0].sum() / pairs[1].sum(), low, high)]


def port_of(detail: str) -> int:
    """Return the port in the message of the sink."""
    return int(detail.rpartition(":")[2].strip("/"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--viewers", type=int, default=16)
    parser.add_argument("--size", default="480x640", help="height and width of the image")
    parser.add_argument("--rate", type=float, help="frames per second of the source (default: as fast as possible)")
    parser.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.watch is not None:
        watch(options.watch)
        return
    result = measure(options)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()

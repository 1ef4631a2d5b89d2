"""Measure what the viewers of the sink `web` cost the loop.

    python tests/perf/web.py [--rounds 8] [--seconds 4] [--viewers 16] [--size 480x640] [--json]

The shipped road model processes the same image as fast as it can, so everything that the sink computes slows the loop
down. Each round measures the loop without a sink, with the sink and no viewer, and with viewers, in random order. The
viewers read MJPEG in a separate process on the same machine. The printed ratios are medians over the rounds.

`--rate 30` limits the loop to 30 frames per second, as a camera does.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

import orilla.runtime
from orilla.runtime import scenes
from orilla.runtime.frame import Frame
from orilla.runtime.model import Model
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup

SETTLE_S = 1.5
"""Time in seconds until the viewers are connected and the loop is warm."""


class Still:
    """Source that returns the same image, immediately or at a rate."""

    live = False

    def __init__(self, image: np.ndarray, rate_hz: float | None) -> None:
        self._image, self.rate_hz, self._index = image, rate_hz, 0
        self._began = time.monotonic()

    def read(self) -> Frame:
        if self.rate_hz is not None:
            time.sleep(max(0.0, self._began + self._index / self.rate_hz - time.monotonic()))
        self._index += 1
        return Frame(self._index - 1, self._image, time.monotonic_ns())

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def watch(port: int, viewers: int) -> None:
    """Read streams until the server closes them, then print the number of received bytes."""
    selector = selectors.DefaultSelector()
    for _ in range(viewers):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.setblocking(False)
        selector.register(client, selectors.EVENT_READ)
    count, buffer = 0, bytearray(1 << 20)
    while selector.get_map():
        for key, _ in selector.select():
            connection = key.fileobj
            assert isinstance(connection, socket.socket)
            try:
                received = connection.recv_into(buffer)
            except OSError:
                received = 0
            count += received
            if not received:
                selector.unregister(connection)
        time.sleep(0.02)  # Larger parts cost less.
    print(count)


class Measured(NamedTuple):
    """The figures of one loop."""

    fps: float
    """Answers per second."""
    cpu_ms: float
    """CPU time of the process of the loop, in milliseconds per second."""
    received: float
    """Megabytes per second that all viewers together received."""


def run(model: Model, image: np.ndarray, viewers: int | None, options: argparse.Namespace) -> Measured:
    """Run one loop.

    Args:
        model: The model.
        image: The image that it processes.
        viewers: Number of viewers. None for a loop without a sink.
        options: Duration and rate of the loop.
    """
    ports: list[int] = []
    openers = [] if viewers is None else [sink_opener("web:0")]
    peers: subprocess.Popen[str] | None = None
    count, began, cpu_s = 0, 0.0, 0.0
    started = time.monotonic()
    with (
        model.stream(Still(image, options.rate), policy="every") as stream,
        Sinks(openers, Setup(live=True), lambda event: ports.append(_port(event.detail))) as sinks,
    ):
        for tick in stream:
            sinks.write(tick)
            now = time.monotonic()
            if viewers and peers is None:
                command = [sys.executable, __file__, "--watch", str(ports[0]), "--viewers", str(viewers)]
                peers = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            if began:
                count += 1
                if now - began >= options.seconds:
                    break
            elif now - started > SETTLE_S:
                began, cpu_s = now, time.process_time()
        seconds, cpu_s = now - began, time.process_time() - cpu_s
    received = int(peers.communicate(timeout=20)[0]) if peers is not None else 0
    return Measured(count / seconds, 1e3 * cpu_s / seconds, received / (now - started) / 1e6)


def _port(detail: str) -> int:
    return int(detail.rpartition(":")[2].strip("/"))


def measure(options: argparse.Namespace) -> dict[str, object]:
    """Return the rates and their ratios."""
    height, width = (int(part) for part in options.size.split("x"))
    image = scenes.render(3, 0.0, (height, width))[0]
    cases: dict[str, int | None] = {"without": None, "idle": 0, "watched": options.viewers}
    rates: dict[str, list[float]] = {name: [] for name in cases}
    cpu_ms: dict[str, list[float]] = {name: [] for name in cases}
    received: list[float] = []
    with orilla.runtime.open("road") as model:
        for _ in range(options.rounds):
            for name in random.sample(list(cases), len(cases)):
                done = run(model, image, cases[name], options)
                rates[name].append(done.fps)
                cpu_ms[name].append(done.cpu_ms)
                if cases[name]:
                    received.append(done.received)
    return {
        "viewers": options.viewers,
        "fps": {name: round(statistics.median(values), 1) for name, values in rates.items()},
        "cpu_ms_per_s": {name: round(statistics.median(values)) for name, values in cpu_ms.items()},
        "ratio": {name: round(statistics.median(ratios(rates, name)), 3) for name in ("idle", "watched")},
        "rounds": {name: [round(ratio, 3) for ratio in ratios(rates, name)] for name in ("idle", "watched")},
        "received_mb_per_s": round(statistics.median(received), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def ratios(rates: dict[str, list[float]], name: str) -> Iterator[float]:
    """Yield the rate of each round relative to the rate without a sink in the same round."""
    return (value / plain for value, plain in zip(rates[name], rates["without"], strict=True))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--viewers", type=int, default=16)
    parser.add_argument("--size", default="480x640", help="height and width of the image")
    parser.add_argument("--rate", type=float, help="frames per second of the source (default: as fast as possible)")
    parser.add_argument("--watch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.watch is not None:
        watch(options.watch, options.viewers)
        return
    result = measure(options)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()

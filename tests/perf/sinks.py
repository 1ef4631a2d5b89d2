"""Measure whether a sink with a fault slows down inference: each sink with each fault, and the loop without a sink.

    python tests/perf/sinks.py                        all sinks and faults; some 8 minutes on two cores
    python tests/perf/sinks.py --only mqtt,video      some sinks
    python tests/perf/sinks.py --json                 also the written and dropped ticks, and the events

A camera of 30 Hz delivers 720p images to the shipped road model, with the policy `latest`. In each run, the fault
begins after one second and lasts until the end. Before and after each run, the loop runs without a sink. `ratio` is the
rate of answers with the fault, divided by the mean rate of these two runs.

- `healthy`: no fault. The ratio shows what the sink's own work costs.
- `slow`: each call of the sink takes 0.3 s longer.
- `dead`: each call of the sink waits until the end of the run.
- `refusing`: each call raises `OutputError`, and the sink cannot be opened again.
- `full disk`: the file system of the files has no free block. It is a `tmpfs`, so this fault needs root on Linux.
- `killed`: the broker, router, program, viewer or reader that is the peer of the sink is killed. A killed process of
  Orilla itself is tested by `tests/perf/kills.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ladder import RATE_HZ, Camera

import orilla.runtime
from orilla.devices.errors import OutputError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.model import Model
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import SinkOpener, sink_opener
from orilla.runtime.sinks.sink import Setup, Sink

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.mosquitto import free_port, mosquitto
from helpers.zenoh_router import zenoh_router

START_S = 1.0
"""Time in seconds before the fault. Sinks and encoders start in this time, so it is not counted."""
SLOW_S = 0.3
"""Additional time in seconds of each call of a slow sink."""

SPECS = {
    "jsonl": "jsonl:{disk}/out.jsonl",
    "csv": "csv:{disk}/out.csv",
    "video": "video:{disk}/out.mp4",
    "clip": "clip:{disk}/%H%M%S.mp4?on=change",
    "frames": "frames:{disk}",
    "mcap": "mcap:{disk}/out.mcap?frames",
    "exec": "exec:dd of=/dev/null status=none",
    "mqtt": "mqtt:127.0.0.1:{broker}/orilla?qos=1",
    "ros2": "ros2:/orilla/road?via=zenoh&connect=tcp/127.0.0.1:{router}",
    "mavlink": "mavlink:tcp:127.0.0.1:{receiver}",
    "web": "web:127.0.0.1:{web}",
    "metrics": "metrics:127.0.0.1:{metrics}",
    "shm": "shm:orilla-perf-{pid}?frames",
}
"""Specification of each sink that is measured. `text`, `window` and `none` have neither a file nor a peer process."""

FILES = ("jsonl", "csv", "video", "clip", "frames", "mcap")
FAULTS = ("healthy", "slow", "dead", "refusing", "full disk", "killed")

VIEWER = "import sys, urllib.request as u\ns = u.urlopen(sys.argv[1])\nwhile s.read(1 << 16): pass"
SCRAPER = "import sys, time, urllib.request as u\nwhile True: u.urlopen(sys.argv[1]).read(); time.sleep(0.1)"
RECEIVER = (
    "import socket, sys\ns = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nc = s.accept()[0]\n"
    "while c.recv(1 << 16): pass"
)
RETRY = "import time\nfor _ in range(200):\n    try: exec({program!r})\n    except OSError: time.sleep(0.1)"
"""Program that runs a Python text again until it can connect."""
READER = (
    "import sys\nfrom orilla.runtime.sinks.shm_reader import SharedTicks\nwith SharedTicks(sys.argv[1], 20) as ticks:\n"
    "    for tick in ticks: pass"
)


class Faulty(Sink):
    """A sink whose calls have a fault after it has begun.

    Args:
        sink: The sink without the fault.
        fault: Fault of each call, which may wait or raise.
    """

    def __init__(self, sink: Sink, fault: Callable[[], None]) -> None:
        self._sink, self._fault = sink, fault

    def write(self, tick: Tick) -> bool:
        """Write one tick after the fault."""
        self._fault()
        return self._sink.write(tick)

    def event(self, event: Event) -> None:
        """Pass an event."""
        self._sink.event(event)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()


class Disturbance:
    """A fault that begins at a certain time of a run."""

    def __init__(self, fault: str, begin: Callable[[], None] | None = None) -> None:
        self._fault, self._begin = fault, begin
        self._is_on, self._ended = False, threading.Event()

    def start(self) -> None:
        """Begin the fault."""
        self._is_on = True
        if self._begin is not None:
            self._begin()

    def stop(self) -> None:
        """End the fault, so that waiting calls return."""
        self._ended.set()

    def opener(self, spec: str) -> SinkOpener:
        """Return the opener of a sink with this fault."""
        inner = sink_opener(spec)

        def open_sink(setup: Setup) -> Sink:
            self._meet()
            return Faulty(inner.open(setup), self._meet)

        return replace(inner, open=open_sink)

    def _meet(self) -> None:
        if not self._is_on:
            return
        if self._fault == "slow":
            self._ended.wait(SLOW_S)
        elif self._fault == "dead":
            self._ended.wait()
        elif self._fault == "refusing":
            msg = "refused"
            raise OutputError(msg)


class Place(NamedTuple):
    """The environment of a run: values for the specification of its sink, and how its peer process is killed."""

    values: dict[str, object]
    kill: Callable[[], None] | None


@contextmanager
def place(kind: str, disk: Path) -> Iterator[Place]:
    """Start the peer process of a sink, such as a broker or a viewer."""
    values: dict[str, object] = {"disk": disk, "pid": os.getpid()}
    values |= {name: free_port() for name in ("web", "metrics", "receiver")}
    with ExitStack() as stack:
        kill: Callable[[], None] | None = None
        if kind == "mqtt":
            broker = stack.enter_context(mosquitto(Path(stack.enter_context(tempfile.TemporaryDirectory()))))
            values["broker"] = broker.port
            kill = partial(broker.signal, signal.SIGKILL)
        elif kind == "ros2":
            router = stack.enter_context(zenoh_router())
            values["router"] = router.port
            kill = router.kill
        elif kind == "exec":
            kill = kill_children
        elif kind in ("web", "metrics", "shm", "mavlink"):
            address = SPECS[kind].format(broker=0, router=0, **values).partition(":")[2].partition("?")[0]
            program, argument = {
                "web": (VIEWER, f"http://{address}/stream.mjpg"),
                "metrics": (SCRAPER, f"http://{address}/metrics"),
                "shm": (READER, address),
                "mavlink": (RECEIVER, str(values["receiver"])),
            }[kind]
            start = RETRY.format(program=program)
            other = subprocess.Popen([sys.executable, "-c", start, argument], stderr=subprocess.DEVNULL)
            stack.callback(other.wait)
            stack.callback(other.kill)
            kill = other.kill
            time.sleep(1.0 if kind == "mavlink" else 0.0)
        yield Place(values, kill)


def kill_children() -> None:
    """Kill the programs that the sink `exec` has started."""
    for path in Path(f"/proc/{os.getpid()}/task").glob("*/children"):
        for child in path.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "dd":
                os.kill(int(child), signal.SIGKILL)


def fill(disk: Path) -> None:
    """Write a file until the file system is full."""
    with (disk / "ballast").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(1 << 16))
        except OSError:
            return


@contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a file system of 64 MiB in memory."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "orilla-perf", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=True)


class Run(NamedTuple):
    """The figures of one run of the loop."""

    rate_hz: float
    """Answers per second, from the beginning of the fault."""
    events: list[str]
    """Events about the sink."""
    written: int
    dropped: int


def run(model: Model, seconds: float, fault: Disturbance | None, spec: str | None) -> Run:
    """Run the loop with one sink, or without one."""
    events: list[str] = []
    times: list[float] = []

    def report(event: Event) -> None:
        if event.kind == "sink":
            events.append(event.detail)

    camera = Camera(START_S + seconds)
    with model.stream(camera, policy="latest", guard=False, on_event=report) as stream:
        openers = [fault.opener(spec)] if fault is not None and spec is not None else []
        # The loop ends with an error if its only sink has failed, so a sink that writes nothing is added.
        sinks = Sinks([*openers, sink_opener("none")], Setup(RATE_HZ, live=True), report)
        began_s, started = time.monotonic(), False
        for tick in stream:
            times.append(time.monotonic() - began_s)
            if not started and times[-1] >= START_S:
                started = True
                if fault is not None:
                    fault.start()
            sinks.write(tick)
        if fault is not None:
            fault.stop()
        counts = sinks.close()
    counted = [at_s for at_s in times if at_s >= START_S]
    own = counts.get(spec or "")
    rate_hz = (len(counted) - 1) / (counted[-1] - counted[0])
    return Run(rate_hz, events, own.written if own else 0, own.dropped if own else 0)


def faults_of(kind: str) -> list[str]:
    """Return the faults that a sink can have."""
    without = {"killed"} if kind in FILES else {"full disk"}
    if os.geteuid() != 0:
        without.add("full disk")
    return [fault for fault in FAULTS if fault not in without]


def measure(model: Model, kinds: list[str], seconds: float) -> list[dict[str, object]]:
    """Measure each sink with each fault."""
    rows: list[dict[str, object]] = []
    before = run(model, seconds, None, None)
    for kind in kinds:
        for fault in faults_of(kind):
            with ExitStack() as stack:
                disk = Path(
                    stack.enter_context(small_disk() if fault == "full disk" else tempfile.TemporaryDirectory())
                )
                there = stack.enter_context(place(kind, disk))
                begin = {"full disk": partial(fill, disk), "killed": there.kill}.get(fault)
                spec = SPECS[kind].format(**{"broker": 0, "router": 0} | there.values)
                own = run(model, seconds, Disturbance(fault, begin), spec)
            after = run(model, seconds, None, None)
            ratio = own.rate_hz / statistics.mean((before.rate_hz, after.rate_hz))
            rows.append({"sink": kind, "fault": fault, "ratio": round(ratio, 3), **own._asdict()})
            print(
                f"{kind:8} {fault:10} {ratio:.3f}  {own.written:4} written {own.dropped:4} dropped  {own.events}",
                file=sys.stderr,
            )
            before = after
    return rows


def table(rows: list[dict[str, object]]) -> str:
    """Return the ratios as a table in Markdown, with a row for each sink."""
    ratios = {(str(row["sink"]), str(row["fault"])): row["ratio"] for row in rows}
    lines = [f"| sink | {' | '.join(FAULTS)} |", f"|---{'|---' * len(FAULTS)}|"]
    for kind in dict.fromkeys(kind for kind, _ in ratios):
        cells = (ratios.get((kind, fault)) for fault in FAULTS)
        lines.append(f"| `{kind}` | {' | '.join('' if cell is None else f'{cell:.3f}' for cell in cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="sinks, separated by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="time with the fault (default: 3)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    kinds = arguments.only.split(",") if arguments.only else list(SPECS)
    with orilla.runtime.open("road") as model:
        rows = measure(model, kinds, arguments.seconds)
    print(json.dumps(rows, indent=2) if arguments.json else table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

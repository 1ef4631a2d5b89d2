"""Measure the error of the time stamps of live streams, with a clock in the image.

    python tests/perf/stamps.py [--seconds 300] [--jobs 4] [--kinds rtsp-h264,...] [--rates 5,10,25,30,60] [--json]

Each server is a separate process, which draws the time into its 320x240 images (`tests/helpers/live_servers.py`). The
error of an age is the capture time of the frame minus the drawn time: positive if the frame seems newer than it is. It
contains the time for encoding, sending and receiving the image. All frames count, including the first.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from orilla.runtime.frame import Frame
from orilla.runtime.scenes import clock
from orilla.runtime.sources.registry import open_source

SERVERS = Path(__file__).parents[1] / "helpers" / "live_servers.py"
KINDS = (
    *("rtsp-h264", "tcp-mjpeg", "udp-mpegts", "tcp-h264", "http-snapshot", "http-mjpeg-standard"),
    *("http-mjpeg-no-first-boundary", "http-mjpeg-stamped", "http-mjpeg-no-length", "http-mjpeg-chunked"),
)
WAIT_S = 2.0
"""Time in seconds before the stream is opened, in which the server starts."""


def measure(kind: str, rate_hz: float, seconds: float) -> dict[str, object]:
    """Read one stream, and return the percentiles of the errors in milliseconds."""
    command = [sys.executable, str(SERVERS), kind, str(rate_hz)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            url = server.stdout.readline().strip()  # type: ignore[union-attr]
            time.sleep(WAIT_S)
            errors, ages, events, unread = read(url, seconds)
        finally:
            server.kill()
    p50, p99 = np.percentile(errors, 50), np.percentile(np.abs(errors), 99)
    return {
        "kind": kind,
        "rate_hz": rate_hz,
        "frames": len(errors),
        "unread": unread,
        "p50_ms": round(float(p50), 1),
        "p99_abs_ms": round(float(p99), 1),
        "max_abs_ms": round(float(np.abs(errors).max()), 1),
        "age_p50_ms": round(float(np.percentile(ages, 50)), 1),
        "events": events,
        "load": round(os.getloadavg()[0], 1),
    }


def read(url: str, seconds: float) -> tuple[list[float], list[float], dict[str, int], int]:
    """Return the errors of the ages, the true ages, the event counts by kind, and the number of unread clocks."""
    errors: list[float] = []
    ages: list[float] = []
    events: dict[str, int] = {}
    unread = 0
    source = open_source(url)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        item = source.read()
        now_ns = time.monotonic_ns()
        if isinstance(item, Frame):
            drawn = clock.read(item.image)
            if drawn is None:
                unread += 1
                continue
            ages.append(clock.since_ms(drawn, now_ns))
            errors.append(ages[-1] - (now_ns - item.captured_ns) / 1e6)
        elif item is not None and item.kind != "waiting":
            events[item.kind] = events.get(item.kind, 0) + 1
    source.close()
    return errors, ages, events, unread


def main() -> int:
    """Run the measurements and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="duration of each stream in seconds")
    parser.add_argument("--jobs", type=int, default=4, help="number of streams at the same time")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--rates", default="5,10,25,30,60")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rates = [float(rate) for rate in arguments.rates.split(",")]
    cases = [(kind, rate) for rate in rates for kind in arguments.kinds.split(",")]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        pending = [pool.submit(measure, kind, rate, arguments.seconds) for kind, rate in cases]
        rows = [future.result() for future in pending]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    print("| stream | frames/s | frames | error p50, ms | error p99, ms | largest, ms | age p50, ms | events | load |")
    print("|---|---:|---:|---:|---:|---:|---:|---|---:|")
    for row in rows:
        events = ", ".join(f"{count} {kind}" for kind, count in row["events"].items())  # type: ignore[attr-defined]
        print(
            f"| {row['kind']} | {row['rate_hz']:g} | {row['frames']} | {row['p50_ms']} | {row['p99_abs_ms']} "
            f"| {row['max_abs_ms']} | {row['age_p50_ms']} | {events} | {row['load']} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

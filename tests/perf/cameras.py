"""Measure the ages and dropped frames of two cameras with one model, and what happens to one when the other dies.

    python tests/perf/cameras.py [--seconds 20] [--model road] [--json]

The two 30 Hz cameras are the HTTP server of `live.py`, in separate processes, which draw the time into their 640x480
images. Both are read with the policy `latest` and share one model. After half of the time, the process of the camera
`rear` is killed, so that the loop tries to connect to it again until the end.

- `p50`, `p90`, `p99`, `max`: ages of the answers in milliseconds, from the time in the image to the answer.
- `rate_hz`: answers per second. `drop_ratio`: share of the frames that were not answered.
- `alone`: the camera `front` without the other camera, in a separate run, for comparison.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from live import age_ms, percentiles

import orilla.runtime
from orilla.runtime.frame import Event, Frame

SERVER = Path(__file__).with_name("live.py")
SKIPPED_S = 1.0
"""Seconds at the start of each part that are not counted, because the connections are opened then."""

Ages = dict[tuple[str, str], list[float]]
"""Ages of the answers in milliseconds, by the name of the camera and of the part of the run."""


@contextmanager
def camera() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a camera in a separate process. The value is the process and its URL."""
    with subprocess.Popen([sys.executable, SERVER, "--serve"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, f"http://127.0.0.1:{int(process.stdout.readline())}/video"
        finally:
            process.kill()


def alone(name: str, seconds: float) -> dict[str, float]:
    """Return the figures of a camera that runs alone."""
    ages: list[float] = []
    with camera() as (_, url), orilla.runtime.open(name) as model, model.stream(url) as stream:
        began_s = time.monotonic()
        for tick in stream:
            passed_s = time.monotonic() - began_s
            if passed_s > seconds:
                break
            assert isinstance(tick.frame, Frame)
            if passed_s > SKIPPED_S and (age := age_ms(tick.frame.image)) is not None:
                ages.append(age)
        return figures(ages, seconds - SKIPPED_S) | {"drop_ratio": round(stream.stats().drop_ratio, 3)}


def together(name: str, seconds: float) -> dict[str, object]:
    """Return the figures of two cameras, of which one dies after half of the time."""
    ages: Ages = {}
    events: list[Event] = []
    with (
        camera() as (_, front),
        camera() as (dying, rear),
        orilla.runtime.open(name) as model,
        model.streams(front=front, rear=rear, on_event=events.append) as streams,
    ):
        began_s = time.monotonic()
        both: dict[str, float] = {}
        for tick in streams:
            passed_s = time.monotonic() - began_s
            if passed_s > seconds:
                break
            if not both and passed_s >= seconds / 2:
                both = {source: round(stats.drop_ratio, 3) for source, stats in streams.stats().items()}
                dying.kill()
            part = "after" if both else "both"
            assert isinstance(tick.frame, Frame)
            in_part_s = passed_s - (seconds / 2 if both else 0.0)
            if in_part_s > SKIPPED_S and (age := age_ms(tick.frame.image)) is not None:
                ages.setdefault((str(tick.source), part), []).append(age)
    counted_s = seconds / 2 - SKIPPED_S
    return {
        "front": figures(ages["front", "both"], counted_s) | {"drop_ratio": both["front"]},
        "rear": figures(ages["rear", "both"], counted_s) | {"drop_ratio": both["rear"]},
        "front after the death of rear": figures(ages["front", "after"], counted_s),
        "events": [f"{event.source}: {event.kind}: {event.detail}" for event in events],
    }


def figures(ages: list[float], seconds: float) -> dict[str, float]:
    """Return the percentiles of ages, and the rate of the answers."""
    return percentiles(ages) | {"rate_hz": round(len(ages) / seconds, 1)}


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--model", default="road", help="path or name of a bundle")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = {"alone": alone(arguments.model, arguments.seconds / 2), **together(arguments.model, arguments.seconds)}
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    for name, values in found.items():
        print(f"{name:30} {values}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

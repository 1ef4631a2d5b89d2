"""Measure how a degradation ladder keeps the age of answers within a deadline while another process uses a core.

    orilla train road --data scenes --samples 60 --epochs 1 --input 384x640 --out runs/large
    orilla export runs/large --recipes litert_fp32,litert_wi8_ai8 --out large.orilla
    orilla train road --data scenes --samples 60 --epochs 1 --input 192x320 --out runs/small
    orilla export runs/small --recipes litert_wi8_ai8 --out small.orilla
    python tests/perf/ladder.py large.orilla --rungs litert_wi8_ai8 small.orilla --deadline 30
    python tests/perf/ladder.py …  --plot ladder.png     a plot of the ages and rungs; needs matplotlib

The models are not trained to be accurate, because only times are measured. A camera of 30 Hz delivers 720p images.
After `--calm` seconds, a process that never sleeps is pinned to the core of the inference thread for `--busy` seconds,
so that inference gets about half of that core. The script measures once with the ladder and once without it.

- `p90_calm_ms`, `p90_busy_ms`: p90 of the age of answers, before the disturbance and from one second after its start.
- `worst_p90_ms`: largest p90 of all windows of one second, from one second after the start of the disturbance.
- `back_s`: time from the end of the disturbance until the best rung answers again.
- `longest_gap_ms`: longest time between two answers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import orilla.runtime
from orilla.devices.detect import detect
from orilla.runtime import scenes
from orilla.runtime.frame import Event, Frame
from orilla.runtime.loop.ladder import Ladder

RATE_HZ = 30.0
SIZE_HW = (720, 1280)
WINDOW_S = 1.0
REACTION_S = 1.0
"""Time in seconds after the start of the disturbance in which answers may be late."""

BUSY = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@cache
def images() -> tuple[NDArray[np.uint8], ...]:
    """Return some images of a drive."""
    return tuple(scenes.render(7, index / RATE_HZ, SIZE_HW)[0] for index in range(8))


class Camera:
    """A camera that delivers images of a drive at a constant rate until `seconds` have passed."""

    live = True
    rate_hz: float | None = None

    def __init__(self, seconds: float) -> None:
        self._images = images()
        self._began_s, self._seconds, self._index = 0.0, seconds, 0

    def read(self) -> Frame | None:
        """Wait until the next image is due, and return it."""
        self._began_s = self._began_s or time.monotonic()
        due_s = self._began_s + self._index / RATE_HZ
        if due_s - self._began_s > self._seconds:
            return None
        time.sleep(max(0.0, due_s - time.monotonic()))
        self._index += 1
        return Frame(self._index - 1, self._images[self._index % len(self._images)], round(1e9 * due_s))

    def close(self) -> None:
        """Release nothing."""


class Answer(NamedTuple):
    """One answer."""

    at_s: float
    """Time of delivery since the first frame."""
    age_ms: float
    rung: str


def inference_core() -> int:
    """Return the core on which the inference thread ran last."""
    thread = next(one for one in threading.enumerate() if one.name == "orilla-infer")
    fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
    return int(fields[36])


def run(arguments: argparse.Namespace, ladder: Ladder | None) -> tuple[list[Answer], list[str]]:
    """Run the loop with the disturbance. Return the answers and the events."""
    answers: list[Answer] = []
    events: list[Event] = []
    began_s, busy = 0.0, None
    start_s, end_s = arguments.calm, arguments.calm + arguments.busy
    with orilla.runtime.open(arguments.bundle, variant=arguments.variant) as model:
        camera = Camera(end_s + arguments.calm)
        try:
            for tick in model.stream(camera, ladder=ladder, on_event=events.append, guard=False):
                began_s = began_s or tick.captured_ns / 1e9
                at_s = tick.delivered_ns / 1e9 - began_s
                answers.append(Answer(at_s, tick.age_ms, tick.rung or model.variant.name))
                if busy is None and start_s <= at_s < end_s:
                    busy = subprocess.Popen([sys.executable, "-c", BUSY, str(inference_core())])
                elif busy is not None and at_s >= end_s:
                    busy.kill()
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
    return answers, [f"{event.at_ns / 1e9 - began_s:.2f} s: {event.detail}" for event in events]


def p90_ms(answers: list[Answer]) -> float:
    """Return the p90 of the age, by the nearest-rank method."""
    return float(np.percentile([answer.age_ms for answer in answers], 90, method="inverted_cdf"))


def figures_of(answers: list[Answer], arguments: argparse.Namespace) -> dict[str, object]:
    """Return the figures of one run."""
    start_s, end_s = arguments.calm, arguments.calm + arguments.busy
    first = answers[0].rung
    calm = [answer for answer in answers if 1.0 <= answer.at_s < start_s]
    busy = [answer for answer in answers if start_s + REACTION_S <= answer.at_s < end_s]
    windows = [
        [answer for answer in busy if at_s <= answer.at_s < at_s + WINDOW_S]
        for at_s in np.arange(start_s + REACTION_S, end_s - WINDOW_S, 0.1)
    ]
    shares = {
        rung: sum(one.rung == rung for one in busy) / len(busy) for rung in dict.fromkeys(one.rung for one in busy)
    }
    back = [answer.at_s - end_s for answer in answers if answer.at_s > end_s and answer.rung == first]
    gaps = np.diff([answer.at_s for answer in answers])
    return {
        "answers": len(answers),
        "p90_calm_ms": round(p90_ms(calm), 1),
        "p90_busy_ms": round(p90_ms(busy), 1),
        "worst_p90_ms": round(max(p90_ms(window) for window in windows if window), 1),
        "rungs_busy": {rung: round(share, 3) for rung, share in shares.items()},
        "back_s": round(back[0], 2) if back else None,
        "longest_gap_ms": round(1e3 * float(gaps.max()), 1),
    }


def plot(runs: dict[str, list[Answer]], path: Path, arguments: argparse.Namespace) -> None:
    """Draw the age of each answer over time, one line for each run, and the rungs as colours."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    rows = figure.subplots(len(runs), sharex=True, sharey=True)
    for axes, (name, answers) in zip(rows, runs.items(), strict=True):
        for rung in dict.fromkeys(answer.rung for answer in answers):
            own = [answer for answer in answers if answer.rung == rung]
            axes.plot([one.at_s for one in own], [one.age_ms for one in own], ".", markersize=3, label=rung)
        axes.axhline(arguments.deadline, color="grey", linewidth=0.8, linestyle="--")
        axes.axvspan(arguments.calm, arguments.calm + arguments.busy, color="grey", alpha=0.15)
        axes.set(title=name, ylabel="age of the answer, ms", ylim=(0, None))
        axes.legend(loc="upper right", markerscale=3)
    rows[-1].set(xlabel="time, s (grey: another process uses the core of the inference; dashed: deadline)")
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--variant", default="litert_fp32")
    parser.add_argument("--rungs", nargs="*", default=[])
    parser.add_argument("--deadline", type=float, default=30.0)
    parser.add_argument("--calm", type=float, default=12.0, help="seconds before and after the disturbance")
    parser.add_argument("--busy", type=float, default=20.0, help="seconds of the disturbance")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with_ladder, events = run(arguments, Ladder(arguments.deadline, tuple(arguments.rungs)))
    without, _ = run(arguments, None)
    figures = {
        "machine": str(detect()),
        "cores": len(os.sched_getaffinity(0)),
        "deadline_ms": arguments.deadline,
        "ladder": figures_of(with_ladder, arguments),
        "without": figures_of(without, arguments),
        "events": events,
    }
    if arguments.plot is not None:
        plot({"with the ladder": with_ladder, "without": without}, arguments.plot, arguments)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    for name, value in figures.items():
        print("\n  ".join([name, *value]) if name == "events" else f"{name}: {value}")  # type: ignore[misc]
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Run the camera loop for a long time, and check for growing memory, lost or reordered answers, and slower answers.

    python tests/perf/soak.py [--ticks 1000000] [--minutes 20] [--rate 30] [--bundle road] [--plot soak.png] [--json]

The first part answers `--ticks` frames of a recorded source as fast as possible. Its network only computes the
brightness, and JSON lines are written to files. The oldest files are deleted. The second part runs the bundle in real
time on a camera that is lost every ten seconds and hangs every minute. `--ticks 0` or `--minutes 0` skips a part.

Each part is divided into tenths. The exit code is 1 if

- an answer is missing, duplicated or out of order, or a line was not written,
- there are more threads or file descriptors in the last tenth than in the second one,
- the resident memory grew by more than `--growth` (MB) from the second tenth to the last one, or
- the 99th percentile of the age of the answers in the last tenth is more than `--slower` times that in the first one.

The first hundredth of a part is not counted, because buffers and caches are filled there. Other programs on the machine
change the last figure.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.faults import FaultyEngine

import orilla.runtime
from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.stream import Stream
from orilla.runtime.scenes.render import render
from orilla.runtime.sinks.group import Sinks
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.reconnect import Reconnecting
from orilla.runtime.sources.time_limit import TimeLimited, TimeLimits

PARTS = 10
POINTS = 100
"""Number of points of the plot."""

LOST_EVERY_S, HANGS_EVERY_S = 10.0, 60.0
READ_S = 0.5
"""Time limit of the camera for each frame, in seconds."""


class Recorded:
    """A recorded source of small images. It allocates nothing while it is read, except the frames themselves."""

    live, rate_hz = False, None

    def __init__(self, count: int) -> None:
        self._count, self._index = count, 0
        self._images = [np.full((16, 16, 3), value, np.uint8) for value in range(256)]

    def read(self) -> Frame | None:
        """Return the next frame."""
        index, self._index = self._index, self._index + 1
        return Frame(index, self._images[index % 256], time.monotonic_ns()) if index < self._count else None

    def close(self) -> None:
        """Do nothing."""


class Camera:
    """A camera with a frame rate. Every `LOST_EVERY_S` seconds, its cable is unplugged, or its driver hangs."""

    live, rate_hz = True, None

    def __init__(self, images: list[np.ndarray], rate_hz: float, ends_s: float, opened: list[float]) -> None:
        self._images, self._rate_hz, self._ends_s = images, rate_hz, ends_s
        self._index, self._began_s = 0, time.monotonic()
        opened.append(self._began_s)
        self._hangs = len(opened) % round(HANGS_EVERY_S / LOST_EVERY_S) == 0

    def read(self) -> Frame | None:
        """Wait for the next frame and return it."""
        index, self._index = self._index, self._index + 1
        due_s = self._began_s + index / self._rate_hz
        time.sleep(max(0.0, due_s - time.monotonic()))
        if due_s - self._began_s >= LOST_EVERY_S:
            if self._hangs:
                time.sleep(2 * READ_S)
            msg = "the cable is out"
            raise SourceError(msg)
        return Frame(index, self._images[index % len(self._images)], time.monotonic_ns())

    def close(self) -> None:
        """Do nothing."""


@dataclass
class Tenth:
    """A tenth of a part."""

    answers: int
    per_second: float
    p50_ms: float
    p99_ms: float
    memory_mb: float
    threads: int
    descriptors: int


@dataclass
class Part:
    """The results of a part, and its problems."""

    name: str
    answers: int
    dropped: int
    seconds: float
    events: dict[str, int]
    tenths: list[Tenth]
    problems: list[str] = field(default_factory=list)


def memory_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


class Observer:
    """Records the ages of answers, and the state of the process at regular intervals.

    Args:
        capacity: Largest number of answers. The memory for them is allocated and used at once, so that it does not
            count as growth.
    """

    def __init__(self, capacity: int) -> None:
        self._ages_ms, self._times_s = np.ones(capacity, np.float32), np.ones(capacity, np.float64)
        self._states: list[tuple[int, float, int, int]] = []
        self.count, self.unordered, self.missing, self._last = 0, 0, 0, -1

    def note(self, tick: Tick) -> None:
        """Record one answer."""
        if self.count < len(self._ages_ms):
            self._ages_ms[self.count], self._times_s[self.count] = tick.age_ms, time.monotonic()
        self.count += 1
        self.unordered += tick.index <= self._last
        self.missing += max(0, tick.index - self._last - 1)
        self._last = tick.index

    def look(self) -> None:
        """Record the state of the process."""
        gc.collect()
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        self._states.append((self.count, memory_mb(), threading.active_count(), descriptors))

    def curves(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return for each point the number of answers, the memory, and the 99th percentile of the ages before it."""
        counts = np.array([state[0] for state in self._states])
        edges = [0, *counts]
        ages = [
            float(np.percentile(self._ages_ms[low:high], 99)) if high > low else np.nan for low, high in pairwise(edges)
        ]
        return counts, np.array([state[1] for state in self._states]), np.array(ages)

    def tenths(self) -> list[Tenth]:
        """Return the tenths of the part, without its first hundredth."""
        count = min(self.count, len(self._ages_ms))
        edges = np.linspace(count // POINTS, count, PARTS + 1).astype(int)
        found = []
        for low, high in pairwise(edges):
            ages, times = self._ages_ms[low:high], self._times_s[low:high]
            states = [state for state in self._states if low < state[0] <= high] or self._states[-1:]
            p50, p99 = np.percentile(ages, (50, 99)) if len(ages) else (np.nan, np.nan)
            seconds = times[-1] - times[0] if len(times) > 1 else np.nan
            found.append(
                Tenth(
                    int(high - low),
                    round(float((len(times) - 1) / seconds), 1),
                    round(float(p50), 3),
                    round(float(p99), 3),
                    round(max(state[1] for state in states), 2),
                    max(state[2] for state in states),
                    max(state[3] for state in states),
                )
            )
        return found


def judge(part: Part, growth_mb: float, slower: float) -> None:
    """Add the problems of a part."""
    first, second, last = part.tenths[0], part.tenths[1], part.tenths[-1]
    for name in ("threads", "descriptors"):
        before, after = getattr(second, name), getattr(last, name)
        if after > before:
            part.problems.append(f"{after} {name} in the last tenth, {before} in the second")
    if last.memory_mb - second.memory_mb > growth_mb:
        part.problems.append(f"the memory grew from {second.memory_mb} MB to {last.memory_mb} MB")
    if last.p99_ms > slower * first.p99_ms:
        part.problems.append(f"p99 is {last.p99_ms} ms in the last tenth, {first.p99_ms} ms in the first")


def accelerated(count: int, folder: Path) -> tuple[Part, Observer]:
    """Answer the frames of a recorded source as fast as possible."""
    events: dict[str, int] = {}

    def on_event(event: Event) -> None:
        events[event.kind] = events.get(event.kind, 0) + 1

    loop = CameraLoop(Recorded(count), FaultyEngine().stages(), Policy.parse("every"), on_event=on_event)
    observer = Observer(count)
    spec = f"jsonl:{folder}/%Y%m%d-%H%M%S.jsonl?size=4MB&max=20MB"
    began = time.monotonic()
    step = max(1, count // POINTS)
    with Stream(loop) as ticks, Sinks([sink_opener(spec)], Setup(), on_event) as sinks:
        for tick in interruptible(ticks):
            sinks.write(tick)
            observer.note(tick)
            if observer.count % step == 0:
                observer.look()
            if observer.count % (10 * step) == 0:
                print(f"{observer.count} of {count} answers", file=sys.stderr, flush=True)
        written = sinks.close()[spec]
    part = Part(
        "accelerated", observer.count, observer.missing, round(time.monotonic() - began, 1), events, observer.tenths()
    )
    if observer.count != count or observer.missing or observer.unordered:
        part.problems.append(f"{observer.count} of {count} answers, {observer.unordered} out of order")
    if (written.written, written.dropped, written.failed) != (observer.count, 0, None):
        part.problems.append(f"the sink wrote {written.written} of {observer.count} lines: {written.failed}")
    return part, observer


def real_time(seconds: float, rate_hz: float, bundle: str, folder: Path) -> tuple[Part, Observer]:
    """Run a bundle on a camera that is lost repeatedly."""
    events: dict[str, int] = {}
    images = [render(3, index / 30, (240, 320))[0] for index in range(30)]
    ends_s, opened = time.monotonic() + seconds, []

    def on_event(event: Event) -> None:
        events[event.kind] = events.get(event.kind, 0) + 1

    def open_camera() -> TimeLimited:
        return TimeLimited(lambda: Camera(images, rate_hz, ends_s, opened), "the camera", TimeLimits(read_s=READ_S))

    observer = Observer(round(1.2 * seconds * rate_hz) + 100)
    spec = f"jsonl:{folder}/%Y%m%d-%H%M%S-live.jsonl?size=1MB&max=5MB"
    began = time.monotonic()
    step = max(1, round(seconds * rate_hz / POINTS))
    source = Reconnecting(open_camera, "the camera", first_wait_s=0.05)
    with (
        orilla.runtime.open(bundle) as model,
        model.stream(source, on_event=on_event) as ticks,
        Sinks([sink_opener(spec)], Setup(live=True), on_event) as sinks,
    ):
        for tick in until(ticks, ends_s):
            sinks.write(tick)
            observer.note(tick)
            if observer.count % step == 0:
                observer.look()
        written = sinks.close()[spec]
    part = Part(
        "real time", observer.count, tick.dropped, round(time.monotonic() - began, 1), events, observer.tenths()
    )
    # The loop counts the frames that its policy dropped. No other index may be missing.
    if observer.unordered or observer.missing > tick.dropped:
        part.problems.append(f"{observer.missing} frames are missing, {tick.dropped} were dropped")
    if written.written + written.dropped != observer.count or written.failed:
        part.problems.append(f"the sink wrote {written.written} and dropped {written.dropped}: {written.failed}")
    if events.get("lost", 0) < int(seconds / (LOST_EVERY_S + 2)) or events.get("lost", 0) - events.get("back", 0) > 1:
        part.problems.append(f"the camera was not lost and found as expected: {events}")
    return part, observer


def interruptible(ticks: Stream) -> Iterator[Tick]:
    """Yield the answers until the end, or until Ctrl-C. The figures measured so far are then reported."""
    try:
        yield from ticks
    except KeyboardInterrupt:
        return


def until(ticks: Stream, ends_s: float) -> Iterator[Tick]:
    """Yield the answers until a time on the monotonic clock."""
    for tick in ticks:
        yield tick
        if time.monotonic() >= ends_s:
            return


def table(part: Part) -> str:
    """Return the tenths of a part as a table."""
    lines = [
        f"{part.name}: {part.answers} answers in {part.seconds} s, {part.dropped} frames dropped, events {part.events}",
        f"{'tenth':>6} {'answers':>8} {'per s':>8} {'p50 ms':>8} {'p99 ms':>8} {'MB':>8} {'threads':>8} {'files':>6}",
    ]
    for number, tenth in enumerate(part.tenths, 1):
        lines.append(
            f"{number:>6} {tenth.answers:>8} {tenth.per_second:>8.0f} {tenth.p50_ms:>8.2f} {tenth.p99_ms:>8.2f} "
            f"{tenth.memory_mb:>8.1f} {tenth.threads:>8} {tenth.descriptors:>6}"
        )
    return "\n".join([*lines, *(f"FAILED: {problem}" for problem in part.problems)])


def plot(results: list[tuple[Part, Observer]], path: str) -> None:
    """Draw the memory and the ages of each part."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(results), figsize=(6 * len(results), 6), squeeze=False, layout="constrained")
    for (part, observer), (upper, lower) in zip(results, axes.T, strict=True):
        counts, memory, ages = observer.curves()
        upper.plot(counts, memory)
        upper.set(title=part.name, ylabel="resident memory, MB", ylim=(0, 1.2 * memory.max()))
        lower.plot(counts, ages)
        lower.set(xlabel="answers", ylabel="p99 of the age, ms", ylim=(0, None))
    figure.savefig(path, dpi=100)


def main() -> int:
    """Run both parts, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ticks", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--growth", type=float, default=2.0)
    parser.add_argument("--slower", type=float, default=1.05)
    parser.add_argument("--plot")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        if options.ticks:
            results.append(accelerated(options.ticks, Path(folder)))
        if options.minutes:
            results.append(real_time(60 * options.minutes, options.rate, options.bundle, Path(folder)))
    for part, _ in results:
        judge(part, options.growth, options.slower)
        if not options.json:
            print(table(part), flush=True)
    if options.json:
        print(json.dumps({part.name: asdict(part) for part, _ in results}))
    if options.plot:
        plot(results, options.plot)
    return int(any(part.problems for part, _ in results))


if __name__ == "__main__":
    sys.exit(main())

"""Measure the memory and the CPU time of the sink `clip` while it waits for a trigger.

    python tests/perf/clips.py [VIDEO ...] [--size 1280x720] [--rate 30] [--before 5] [--json]

The frames are computer-generated road scenes, noise (the worst case), and the frames of the videos. They are scaled to
the size. The result is the number of bytes that the sink keeps when it has received frames for twice the time `before`,
and the CPU time of its thread for each frame.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from orilla.runtime.frame import Frame, Tick
from orilla.runtime.scenes.render import render
from orilla.runtime.sinks.clip import Clips
from orilla.runtime.sinks.registry import sink_opener
from orilla.runtime.sinks.sink import Setup
from orilla.runtime.sources.registry import open_source
from orilla.runtime.tasks.tensor import ArrayResult

LIMIT = "1GB"
"""Memory limit, which is larger than all contents. The measurement then shows how much memory they need."""


def scenes(size_hw: tuple[int, int], rate_hz: float) -> Iterator[np.ndarray]:
    """Yield a drive through a computer-generated scene. A second of it is repeated, because rendering is slow."""
    return cycle([render(3, index / rate_hz, size_hw)[0] for index in range(round(rate_hz))])


def noise(size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield images of noise."""
    rng = np.random.default_rng(0)
    while True:
        yield rng.integers(0, 256, (*size_hw, 3), np.uint8)


def video(path: str, size_hw: tuple[int, int]) -> Iterator[np.ndarray]:
    """Yield the frames of a video repeatedly."""
    while True:
        source = open_source(path)
        while (frame := source.read()) is not None:
            if isinstance(frame, Frame):
                yield cv2.resize(frame.image, size_hw[::-1])
        source.close()


def measure(images: Iterator[np.ndarray], rate_hz: float, before_s: float) -> dict[str, float]:
    """Return the memory in megabytes, and the CPU time in milliseconds per frame."""
    with tempfile.TemporaryDirectory() as folder:
        spec = f"clip:{folder}/%H%M%S.mp4?on=nothing&before={before_s:g}s&memory={LIMIT}"
        sink = sink_opener(spec).open(Setup(rate_hz, live=True))
        assert isinstance(sink, Clips)
        cpu_s = 0.0
        count = round(2 * before_s * rate_hz)
        for index, image in enumerate(islice(images, count)):
            tick = Tick(Frame(index, image, round(1e9 * index / rate_hz)), ArrayResult({}), {"infer": 1.0}, 0)
            began = time.thread_time()
            sink.write(tick)
            cpu_s += time.thread_time() - began
        megabytes = sink.held / 1e6
        sink.close()
    return {"megabytes": round(megabytes, 2), "cpu_ms": round(1000 * cpu_s / count, 2)}


def main() -> int:
    """Measure every content, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--before", type=float, default=5.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    size_hw = (height, width)
    contents = {"scenes": scenes(size_hw, options.rate), "noise": noise(size_hw)}
    contents |= {Path(path).name: video(path, size_hw) for path in options.videos}
    results = {name: measure(images, options.rate, options.before) for name, images in contents.items()}
    if options.json:
        print(json.dumps(results))
        return 0
    print(f"{options.before:g} s of {options.size} at {options.rate:g} frames per second")
    for name, result in results.items():
        print(f"{name:24} {result['megabytes']:8.2f} MB   {result['cpu_ms']:6.2f} ms of CPU time per frame")
    return 0


if __name__ == "__main__":
    sys.exit(main())

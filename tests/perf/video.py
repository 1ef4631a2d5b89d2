"""Compare the reader of video files (PyAV) with OpenCV's reader, alone and in the camera loop.

    python tests/perf/video.py drive.mp4             rates, processor time and difference of the pixels
    python tests/perf/video.py drive.mp4 --json      {"reader_fps": …, "reader_cpu_ms": …, "loop_fps": …, …}

Each round reads the clip with both readers, and then runs the loop on both, so that a disturbance affects both. In
every second round, the other reader is the first. The figures are medians over the rounds. Processor time is the time
of the whole process per frame. The ratios compare PyAV with OpenCV in the same round: above 1, PyAV is faster or needs
more processor time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

import orilla.runtime
from orilla.devices.cores import available_cores, loop_threads
from orilla.runtime.frame import Event, Frame
from orilla.runtime.model import Model
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.capture import decoding_threads, quiet_capture, rate_of, retrieve
from orilla.runtime.sources.source import READY_BUFFERS
from orilla.runtime.sources.video import VideoFile

NAMES = ("pyav", "opencv")


class OpenCvFile:
    """Source that reads a video file with OpenCV."""

    live = False

    def __init__(self, path: Path) -> None:
        threads = decoding_threads(max(1, available_cores() - loop_threads()))
        self._capture = quiet_capture(str(path), cv2.CAP_FFMPEG, threads)
        self._pool, self._index = BufferPool(READY_BUFFERS), 0
        self.rate_hz = rate_of(self._capture)

    def read(self) -> Frame | None:
        if not self._capture.grab():
            return None
        image = retrieve(self._capture, self._pool)
        assert image is not None
        self._index += 1
        return Frame(self._index - 1, image, time.monotonic_ns())

    def close(self) -> None:
        """Release the file."""
        self._capture.release()


READERS: dict[str, Callable[[Path], VideoFile | OpenCvFile]] = {"pyav": VideoFile.open, "opencv": OpenCvFile}


def read_all(path: Path, reader: str) -> int:
    """Read all frames, and return the number of frames."""
    source, count = READERS[reader](path), 0
    for item in iter(source.read, None):
        count += not isinstance(item, Event)
    source.close()
    return count


def run_all(path: Path, reader: str, model: Model) -> int:
    """Run the loop on all frames, and return the number of frames."""
    return sum(1 for _ in model.stream(READERS[reader](path), policy="every"))


def measured(run: Callable[[], int]) -> tuple[float, float]:
    """Return the frames per second of a run, and the processor time in milliseconds for each frame."""
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    count = run()
    cpu_s = time.process_time() - began_cpu_s
    return count / (time.perf_counter() - began_s), 1e3 * cpu_s / count


def pixel_difference(path: Path) -> dict[str, float]:
    """Return the largest and the mean difference between the pixels of both readers, in grey levels."""
    largest, means = 0.0, []
    sources = [READERS[name](path) for name in NAMES]
    while True:
        first, second = (source.read() for source in sources)
        if not (isinstance(first, Frame) and isinstance(second, Frame)) or first.image.shape != second.image.shape:
            break
        difference = cv2.absdiff(first.image, second.image)
        largest = max(largest, float(difference.max()))
        means.append(float(np.mean(difference)))
    for source in sources:
        source.close()
    return {"max": largest, "mean": statistics.fmean(means) if means else 0.0}


def compare(path: Path, bundle: str, rounds: int) -> dict[str, object]:
    """Measure both readers in turn."""
    with orilla.runtime.open(bundle) as model:
        runs = {
            "reader": {name: lambda name=name: read_all(path, name) for name in NAMES},
            "loop": {name: lambda name=name: run_all(path, name, model) for name in NAMES},
        }
        figures: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(rounds):
            for kind, readers in runs.items():
                for name in NAMES if number % 2 else reversed(NAMES):
                    figures.setdefault((kind, name), []).append(measured(readers[name]))
    result: dict[str, object] = {"clip": path.name, "rounds": rounds, "pixels": pixel_difference(path)}
    for kind in runs:
        for place, unit in enumerate(("fps", "cpu_ms")):
            values = {name: [figure[place] for figure in figures[kind, name]] for name in NAMES}
            ratios = sorted(pyav / opencv for pyav, opencv in zip(values["pyav"], values["opencv"], strict=True))
            result[f"{kind}_{unit}"] = {name: round(statistics.median(values[name]), 3) for name in NAMES}
            result[f"{kind}_{unit}_ratio"] = round(statistics.median(ratios), 3)
            result[f"{kind}_{unit}_spread"] = [round(ratios[0], 3), round(ratios[-1], 3)]
    return result


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = compare(arguments.clip, arguments.bundle, arguments.rounds)
    print(json.dumps(result) if arguments.json else "\n".join(f"{key:<22}{value}" for key, value in result.items()))


if __name__ == "__main__":
    main()

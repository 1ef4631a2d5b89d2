"""Measure the overhead of the loop per frame, and the growth of its memory.

    python tests/perf/overhead.py                     milliseconds per frame, with stages that do nothing
    python tests/perf/overhead.py --memory            resident memory of `orilla run road` and of a hand-written loop
    python tests/perf/overhead.py --growth 100000     growth of the resident memory over 100,000 frames of 720p

The first form measures only the loop itself: its threads, queues, counters and statistics. The source, preparation,
inference and decoding do nothing. The other two forms run the loop in separate processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.frame import Frame
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.stages import StageTimer
from orilla.runtime.loop.stream import Stream
from orilla.runtime.tasks.segment import Segmentation, decode

ROUNDS, FRAMES = 7, 20_000


class Still:
    """Source that returns the same image immediately."""

    live = False
    rate_hz = None

    def __init__(self, image: np.ndarray, count: int) -> None:
        self._image, self._count, self._index = image, count, 0

    def read(self) -> Frame | None:
        if self._index == self._count:
            return None
        self._index += 1
        return Frame(self._index - 1, self._image, time.monotonic_ns())

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


class Nothing:
    """Stages of the loop that do nothing."""

    def __init__(self) -> None:
        self._output = np.zeros((4, 4, 1), np.float32)

    def prepare(self, raw: object) -> object:
        return raw

    def answer(self, prepared: object, raw: object, timer: StageTimer) -> Segmentation:
        timer.lap("infer")
        result = decode(self._output, (8, 8), "road")
        timer.lap("decode")
        return result


def overhead_ms() -> list[float]:
    """Return the median time between two answers in milliseconds, for each round."""
    rounds = []
    for _ in range(ROUNDS):
        source = Still(np.zeros((8, 8, 3), np.uint8), FRAMES)
        stamps = [tick.delivered_ns for tick in Stream(CameraLoop(source, Nothing(), Policy.parse("every")))]
        rounds.append(float(np.percentile(np.diff(stamps), 50)) / 1e6)
    return rounds


RESIDENT = """
def resident_mib():
    text = open("/proc/self/status").read()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024
"""

BY_HAND = (
    RESIDENT
    + """
import sys
import cv2, msgspec, numpy
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
(inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
height, width = inputs["shape"][1:3]
capture = cv2.VideoCapture(sys.argv[2])
table = (numpy.arange(256) / inputs["quantization"][0] + inputs["quantization"][1]).round().astype(inputs["dtype"])
while True:
    ok, image = capture.read()
    if not ok:
        break
    image = cv2.cvtColor(cv2.resize(image, (int(width), int(height))), cv2.COLOR_BGR2RGB)
    interpreter.set_tensor(inputs["index"], cv2.LUT(image, table)[None])
    interpreter.invoke()
    scale, zero = outputs["quantization"]
    probability = (interpreter.get_tensor(outputs["index"]).astype(numpy.float32) - zero) * scale
    print((probability >= 0.5).mean(), flush=True)
print(resident_mib(), file=sys.stderr)
"""
)

RUN = (
    RESIDENT
    + """
import sys
from orilla.runtime.cli import main
main(["run", sys.argv[1], "--source", sys.argv[2]])
print(resident_mib(), file=sys.stderr)
"""
)

GROWTH = (
    RESIDENT
    + """
import sys
import numpy
import orilla.runtime
from orilla.runtime.preprocessing.buffer_pool import BufferPool
from orilla.runtime.sources.source import READY_BUFFERS
from orilla.runtime.frame import Frame

class Frames:
    live, rate_hz = False, None
    def __init__(self, count):
        self.count, self.index, self.pool = count, 0, BufferPool(READY_BUFFERS)
    def read(self):
        if self.index == self.count:
            return None
        self.index += 1
        image = self.pool.take((720, 1280, 3))
        image[self.index % 720] = self.index % 256
        return Frame(self.index - 1, image, 0)
    def close(self):
        pass

count = int(sys.argv[2])
with orilla.runtime.open(sys.argv[1]) as model:
    for tick in model.stream(Frames(count)):
        tick.result.mask().any()
        if tick.index in (1000, count - 1):
            print(resident_mib(), file=sys.stderr)
"""
)


def last_figures(command: list[str]) -> list[float]:
    """Return the numbers that a process prints on standard error."""
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    return [float(line) for line in ended.stderr.splitlines() if line.replace(".", "", 1).isdigit()]


def memory(bundle: str) -> dict[str, float]:
    """Return the median resident memory after a clip, in MiB, for a hand-written loop and for `orilla run`."""
    opened = Bundle.open(bundle)
    with tempfile.TemporaryDirectory() as folder:
        model, clip = Path(folder, "model.tflite"), Path(folder, "clip.mp4")
        model.write_bytes(opened.read(opened.manifest.variant(opened.manifest.default).file))
        writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"mp4v"), 30, (1280, 720))
        for index in range(100):
            writer.write(np.full((720, 1280, 3), index, np.uint8))
        writer.release()
        pairs = [
            (
                last_figures([sys.executable, "-c", BY_HAND, str(model), str(clip)])[-1],
                last_figures([sys.executable, "-c", RUN, bundle, str(clip)])[-1],
            )
            for _ in range(5)
        ]
    hand, run = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"by_hand_mib": round(hand, 1), "orilla_run_mib": round(run, 1), "ratio": round(run / hand, 3)}


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--growth", type=int, metavar="FRAMES")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.growth:
        first, last = last_figures([sys.executable, "-c", GROWTH, arguments.bundle, str(arguments.growth)])
        figures = {"frames": arguments.growth, "at_1000_mib": first, "at_end_mib": last, "growth_mib": last - first}
        message = f"{last - first:+.2f} MiB from frame 1,000 to {arguments.growth:,} ({first:.1f} to {last:.1f} MiB)"
    elif arguments.memory:
        figures = memory(arguments.bundle)
        message = "by hand {by_hand_mib} MiB, orilla run {orilla_run_mib} MiB: {ratio} times".format(**figures)
    else:
        rounds = overhead_ms()
        figures = {
            "overhead_ms": round(statistics.median(rounds), 4),
            "rounds_ms": [round(milliseconds, 4) for milliseconds in rounds],
        }
        message = f"{figures['overhead_ms']:.3f} ms for each frame (rounds: {min(rounds):.3f} to {max(rounds):.3f})"
    print(json.dumps(figures, indent=2) if arguments.json else message)
    return 0


if __name__ == "__main__":
    sys.exit(main())

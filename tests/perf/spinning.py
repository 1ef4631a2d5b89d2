"""Measure how much CPU time inference leaves for other threads.

    python tests/perf/spinning.py [BUNDLE] [--variant onnx_wi8_ai8]

ONNX Runtime's threads spin while they wait, unless spinning is turned off. One thread of this script runs inference at
the rate of a camera. ONNX Runtime uses as many threads as there are cores. Another thread resizes images
continuously. The script prints the number of resized images and the CPU time of the process. It alternates between
measurements with and without spinning.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time

import cv2
import numpy as np

from orilla.devices.cores import available_cores
from orilla.devices.detect import detect
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import onnx


def session(data: bytes, *, spin: bool) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    session = onnxruntime.InferenceSession(data, options, providers=[onnx.CPU])
    return onnx.OnnxSession(session, "onnxruntime")


def one_round(infer, prepared, rate_hz: float, seconds: float) -> tuple[float, float, float]:
    """Return the number of resized images per second, the CPU time per second, and the median inference time in ms."""
    picture = np.zeros((720, 1280, 3), np.uint8)
    stop, done = threading.Event(), [0]

    def resize() -> None:
        while not stop.is_set():
            cv2.resize(picture, (352, 224), interpolation=cv2.INTER_LINEAR)
            done[0] += 1

    worker = threading.Thread(target=resize)
    began, cpu = time.perf_counter(), time.process_time()
    worker.start()
    times, due = [], began
    while time.perf_counter() < began + seconds:
        at = time.perf_counter()
        infer.run(prepared)
        times.append((time.perf_counter() - at) * 1e3)
        due += 1 / rate_hz
        time.sleep(max(0.0, due - time.perf_counter()))
    stop.set()
    worker.join()
    took = time.perf_counter() - began
    return done[0] / took, (time.process_time() - cpu) / took, statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default="road")
    parser.add_argument("--variant", default="onnx_wi8_ai8")
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    bundle = Bundle.open(arguments.bundle)
    data = bundle.read(bundle.manifest.variant(arguments.variant).file)
    prepared = read_frames(bundle)[0].prepared
    sessions = {"spins": session(data, spin=True), "waits": session(data, spin=False)}
    rounds_of: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sessions}
    for _ in range(arguments.rounds):
        for name, infer in sessions.items():
            rounds_of[name].append(one_round(infer, prepared, arguments.rate, arguments.seconds))
    print(f"{detect()}; {arguments.variant} at {arguments.rate:g} Hz, while a thread resizes 720p images")
    for name, rounds in rounds_of.items():
        resized, cpu, infer = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{name}: {resized:.0f} images resized per second, {cpu:.2f} cores in use, inference {infer:.1f} ms")


if __name__ == "__main__":
    main()

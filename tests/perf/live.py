"""Measure the age of live answers with slow inference, and compare it with a simple loop over `cv2.VideoCapture`.

    python tests/perf/live.py [--seconds 20] [--infer-ms 50] [--json]

The 30 Hz camera is an HTTP server in a separate process, which draws the time into its 640x480 images. The age of an
answer is the difference between the time of the answer and the time in the image. It therefore includes all delays.

- `orilla`: `model.stream(url)`, with inference slowed down to `--infer-ms`. The age since the arrival of the image is
  also printed. The p99 of this age should be at most one camera period plus one inference.
- `naive`: `cv2.VideoCapture(url)`, `read()` and the same inference, in one thread.
- `steady`: `model.stream(url)`, with inference at its normal speed. The printed figure is p99 / p50 of the time from
  capture to delivery.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

import orilla.runtime
import orilla.runtime.scenes
from orilla.runtime.frame import Frame
from orilla.runtime.model import Model
from orilla.runtime.scenes import clock

RATE_HZ = 30.0
SIZE_HW = (480, 640)
SKIPPED_S = 1.0
"""Time in seconds at the start that is not counted, because connections are opened and caches are cold."""


class Camera(BaseHTTPRequestHandler):
    """A camera that sends JPEG images at the frame rate while a client is connected."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        still = orilla.runtime.scenes.render(3, 0.0, SIZE_HW)[0]
        due = time.monotonic()
        try:
            while True:
                time.sleep(max(0.0, due - time.monotonic()))
                due += 1 / RATE_HZ
                clock.draw(still, time.monotonic_ns())
                data = cv2.imencode(".jpg", still)[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
        except OSError:
            return

    def log_message(self, *message: object) -> None:
        """Print nothing."""


def serve() -> None:
    """Print the port, then serve until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    print(server.server_port, flush=True)
    server.serve_forever()


def age_ms(image: np.ndarray) -> float | None:
    """Return the milliseconds since the time that is drawn into an image, or None if that time cannot be read."""
    drawn = clock.read(image)
    return None if drawn is None else clock.since_ms(drawn, time.monotonic_ns())


def stretched(model: Model, infer_ms: float) -> None:
    """Slow the model's inference down to `infer_ms` milliseconds."""
    run = model.session.run

    def slow(prepared: object) -> object:
        ends = time.perf_counter() + infer_ms / 1e3
        output = run(prepared)
        time.sleep(max(0.0, ends - time.perf_counter()))
        return output

    model.session.run = slow  # type: ignore[method-assign]


def fresh(url: str, seconds: float, infer_ms: float) -> tuple[list[float], list[float], dict[str, int]]:
    """Return the ages of Orilla's answers and the numbers of dropped frames.

    The first list contains the ages computed from the time in the image. The second list contains the ages computed
    from Orilla's time stamp.
    """
    by_clock: list[float] = []
    by_stamp: list[float] = []
    with orilla.runtime.open("road") as model:
        if infer_ms:
            stretched(model, infer_ms)
        with model.stream(url) as stream:
            started = time.monotonic()
            for tick in stream:
                passed = time.monotonic() - started
                if passed > seconds:
                    break
                assert isinstance(tick.frame, Frame)
                if passed > SKIPPED_S and (age := age_ms(tick.frame.image)) is not None:
                    by_clock.append(age)
                    by_stamp.append(tick.age_ms)
            return by_clock, by_stamp, dict(stream.stats().drops)


def naive(url: str, seconds: float, infer_ms: float) -> list[float]:
    """Return the ages of the answers of a simple loop that reads all frames in order, in one thread."""
    ages: list[float] = []
    with orilla.runtime.open("road") as model:
        stretched(model, infer_ms)
        capture = cv2.VideoCapture(url)
        started = time.monotonic()
        while (passed := time.monotonic() - started) < seconds:
            ok, image = capture.read()
            if not ok:
                break
            model(image)
            if passed > SKIPPED_S and (age := age_ms(image)) is not None:
                ages.append(age)
        capture.release()
    return ages


def percentiles(ages: list[float]) -> dict[str, float]:
    """Return percentiles of the ages, by the nearest-rank method."""
    figures = np.percentile(ages, [50, 90, 99], method="inverted_cdf")
    return {
        **{f"p{percent}": round(float(value), 1) for percent, value in zip((50, 90, 99), figures, strict=True)},
        "max": round(max(ages), 1),
    }


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--infer-ms", type=float, default=50.0)
    parser.add_argument("--serve", action="store_true", help="run only the camera server")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as camera:
        try:
            url = f"http://127.0.0.1:{int(camera.stdout.readline())}/video"  # type: ignore[union-attr]
            ours, ours_stamped, drops = fresh(url, arguments.seconds, arguments.infer_ms)
            theirs = naive(url, arguments.seconds, arguments.infer_ms)
            _, steady, _ = fresh(url, arguments.seconds, 0.0)
        finally:
            camera.kill()
    figures = {
        "bound_ms": round(1e3 / RATE_HZ + arguments.infer_ms, 1),
        "orilla_ms": percentiles(ours_stamped),
        "orilla_by_clock_ms": percentiles(ours),
        "dropped": drops,
        "naive_ms": percentiles(theirs),
        "naive_last_ms": round(theirs[-1], 1),
        "steady_ms": percentiles(steady),
        "steady_p99_by_p50": round(percentiles(steady)["p99"] / percentiles(steady)["p50"], 2),
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    print(f"age of the answers in ms; camera {RATE_HZ:g} Hz, inference {arguments.infer_ms:g} ms")
    print(f"orilla   {figures['orilla_ms']}   maximum for p99: {figures['bound_ms']}; dropped {drops}")
    print(f"         {figures['orilla_by_clock_ms']}   by the time in the image, including camera and network")
    print(f"naive    {figures['naive_ms']}   by the time in the image; last answer {figures['naive_last_ms']}")
    print(f"steady   {figures['steady_ms']}   inference at normal speed: p99 / p50 {figures['steady_p99_by_p50']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

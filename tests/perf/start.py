"""Measure how long `orilla run`, and a script with the same imports, take from process start to first answer.

    python tests/perf/start.py [--picture P.jpg] [--rounds 15] [--json]

Both programs run the bundle's default variant on one image. They are started alternately. The figure is the ratio of
the median wall times until the answer is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2

from orilla.runtime import scenes
from orilla.runtime.bundle.bundle import Bundle

BY_HAND = """
import sys
import cv2, msgspec, numpy
from ai_edge_litert.interpreter import Interpreter
model, picture, height, width = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
interpreter = Interpreter(model, num_threads=1)
interpreter.allocate_tensors()
(inputs,), (outputs,) = interpreter.get_input_details(), interpreter.get_output_details()
image = cv2.cvtColor(cv2.resize(cv2.imread(picture), (width, height)), cv2.COLOR_BGR2RGB)
scale, zero = inputs["quantization"]
tensor = image.astype(numpy.float32) if not scale else (image / scale + zero).round().astype(inputs["dtype"])
interpreter.set_tensor(inputs["index"], tensor[None])
interpreter.invoke()
scale, zero = outputs["quantization"]
output = interpreter.get_tensor(outputs["index"])
probability = output if not scale else (output.astype(numpy.float32) - zero) * scale
print((probability >= 0.5).mean(), flush=True)
"""


def seconds(command: list[str]) -> float:
    """Return the wall time in seconds from the start of a process to its first line of output."""
    # Python must be allowed to store compiled modules, so that each program compiles its modules only once.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        line = process.stdout.readline()  # type: ignore[union-attr]
        elapsed = time.perf_counter() - started
    assert line, command
    assert process.returncode == 0, command
    return elapsed


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    variant = bundle.manifest.variant(bundle.manifest.default)
    with tempfile.TemporaryDirectory() as folder:
        model, picture = Path(folder, "model.tflite"), arguments.picture or Path(folder, "picture.png")
        model.write_bytes(bundle.read(variant.file))
        if arguments.picture is None:
            cv2.imwrite(str(picture), scenes.render(1, 0.0, (720, 1280))[0])
        height, width = bundle.manifest.preprocess.size_hw
        by_hand = [sys.executable, "-c", BY_HAND, str(model), str(picture), str(height), str(width)]
        run = [sys.executable, "-m", "orilla.runtime.cli", "run", arguments.bundle, "--source", str(picture)]
        seconds(by_hand), seconds(run)
        pairs = [(seconds(by_hand), seconds(run)) for _ in range(arguments.rounds)]
    by_hand, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    figures = {
        "by_hand_s": round(by_hand, 4),
        "orilla_run_s": round(theirs, 4),
        "ratio": round(theirs / by_hand, 3),
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
    else:
        print(f"by hand {1e3 * by_hand:.0f} ms, orilla run {1e3 * theirs:.0f} ms: {figures['ratio']} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure how long `orilla run`, and a script with the same imports, take from process start to first answer.

    python tests/perf/start.py [--picture P.jpg] [--rounds 15] [--json]

Both programs run the bundle's default variant on one image. They are started alternately, in turn with `orilla run
--help`, `orilla --version` and an empty Python program. The ratios compare the wall time until the answer is printed,
the processor time and the peak memory of `orilla run` with those of the script, and are medians over the rounds.
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
from typing import NamedTuple

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


LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
figures = {"started": started, "cpu_s": usage.ru_utime + usage.ru_stime, "peak_mib": usage.ru_maxrss / 1024}
print(json.dumps({**figures, "code": os.waitstatus_to_exitcode(status)}), file=sys.stderr)
"""
"""Small process that starts the program. Linux includes the memory of the parent process in the peak of its child."""


class Start(NamedTuple):
    """Figures of one start of a program."""

    wall_s: float
    """Time from the start of the process to its first line of output."""
    cpu_s: float
    """Processor time of the whole process."""
    peak_mib: float
    """Largest resident memory of the process."""


def start(command: list[str]) -> Start:
    """Start a program that prints at least one line, and wait for its end."""
    # Python must be allowed to store compiled modules, so that each program compiles its modules only once.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, *command]
    with subprocess.Popen(launcher, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        line = process.stdout.readline()  # type: ignore[union-attr]
        answered = time.perf_counter()
        ended = json.loads(process.communicate()[1].splitlines()[-1])
    assert line or "pass" in command, command
    assert ended["code"] == 0, command
    return Start(answered - ended["started"], ended["cpu_s"], ended["peak_mib"])


def measure(bundle_name: str, picture: Path | None, rounds: int) -> dict[str, object]:
    """Start all programs in turn. Return the medians, and the medians of the ratios within a round."""
    bundle = Bundle.open(bundle_name)
    variant = bundle.manifest.variant(bundle.manifest.default)
    with tempfile.TemporaryDirectory() as folder:
        model, drawn = Path(folder, "model.tflite"), picture or Path(folder, "picture.png")
        model.write_bytes(bundle.read(variant.file))
        if picture is None:
            cv2.imwrite(str(drawn), scenes.render(1, 0.0, (720, 1280))[0])
        orilla = [sys.executable, "-m", "orilla.runtime.cli"]
        size = map(str, bundle.manifest.preprocess.size_hw)
        commands = {
            "by_hand": [sys.executable, "-c", BY_HAND, str(model), str(drawn), *size],
            "orilla_run": [*orilla, "run", bundle_name, "--source", str(drawn)],
            "python": [sys.executable, "-c", "pass"],
            "version": [*orilla, "--version"],
            "help": [*orilla, "run", "--help"],
        }
        table = [{name: start(command) for name, command in commands.items()} for _ in range(rounds + 1)][1:]
    figures: dict[str, object] = {
        name: {
            field: round(statistics.median(getattr(row[name], field) for row in table), 4) for field in Start._fields
        }
        for name in commands
    }
    for field in Start._fields:
        ratios = [getattr(row["orilla_run"], field) / getattr(row["by_hand"], field) for row in table]
        figures[f"{field.rpartition('_')[0]}_ratio"] = round(statistics.median(ratios), 3)
    return figures


def main() -> int:
    """Run the measurement and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", default="road")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.bundle, arguments.picture, arguments.rounds)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    for name, value in figures.items():
        if isinstance(value, dict):
            wall_ms, cpu_ms = 1e3 * value["wall_s"], 1e3 * value["cpu_s"]
            print(f"{name:<12}{wall_ms:8.0f} ms, {cpu_ms:6.0f} ms of processor time, {value['peak_mib']:6.1f} MiB")
    print("orilla run / by hand: {wall_ratio} (time), {cpu_ratio} (processor), {peak_ratio} (memory)".format(**figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

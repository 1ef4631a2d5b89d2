"""Compare regular non-maximum suppression in LiteRT with one and with several threads.

`python tests/perf/nms_threads.py` runs a `.tflite` file whose only operator is `TFLite_Detection_PostProcess` on random
boxes and scores. For each number of threads, it prints the number of inputs whose boxes differ from the boxes with one
thread. LiteRT may crash if the operator keeps fewer boxes per class than in total (`--per-class`), so each
configuration runs in a separate process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))


def child(threads: int, per_class: int, rounds: int) -> int:
    """Return the number of inputs for which the boxes differ."""
    from ai_edge_litert.interpreter import Interpreter
    from helpers.tflite_nets import post_process

    interpreters = []
    for count in (1, threads):
        interpreter = Interpreter(model_content=post_process(regular=True, per_class=per_class), num_threads=count)
        interpreter.allocate_tensors()
        interpreters.append(interpreter)
    generator, different = np.random.default_rng(0), 0
    for _ in range(rounds):
        inputs = [
            generator.random(details["shape"]).astype(np.float32) for details in interpreters[0].get_input_details()
        ]
        answers = []
        for interpreter in interpreters:
            for details, array in zip(interpreter.get_input_details(), inputs, strict=True):
                interpreter.set_tensor(details["index"], array)
            interpreter.invoke()
            answers.append([interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()])
        different += not all(np.array_equal(*pair) for pair in zip(*answers, strict=True))
    return different


def main() -> None:
    """Run each number of threads in a separate process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.child:
        print(child(arguments.threads[0], arguments.per_class, arguments.rounds))
        return
    words = ["--child", "--rounds", str(arguments.rounds), "--per-class", str(arguments.per_class), "--threads"]
    different: dict[str, int | str] = {}
    for threads in arguments.threads:
        command = [sys.executable, __file__, *words, str(threads)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        crash = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        different[str(threads)] = int(ended.stdout.split()[-1]) if ended.returncode == 0 else f"crashed: {crash}"
    if arguments.json:
        print(json.dumps({"rounds": arguments.rounds, "different": different}))
        return
    for name, count in different.items():
        print(f"{name} threads: different boxes in {count} of {arguments.rounds} inputs")


if __name__ == "__main__":
    main()

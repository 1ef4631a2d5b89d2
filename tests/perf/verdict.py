"""Check the verdicts of `orilla bench compare`: `python tests/perf/verdict.py [BUNDLE] [--rounds 20]`.

Each round runs `orilla bench run` three times, in new processes and in changing order. Runs A and B measure the same
bundle. In run C, a delay makes every inference 10 % longer. In every round, the verdict should be "same" for A and B,
whose p50 should differ by at most 3 %, and "slower" for C compared with A. A run is repeated if it is not valid because
another process used the machine.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SLOWER = 0.10
BOUND_P50 = 3.0
TRIES = 6
"""Number of attempts for one valid result."""


def slowed(words: list[str]) -> int:
    """Run `orilla bench` in this process with every inference 10 % longer."""
    from orilla.runtime.cli import main
    from orilla.runtime.engines.litert import LiteRTSession

    real = LiteRTSession.run

    def run(self: LiteRTSession, prepared: object) -> object:
        began = time.perf_counter_ns()
        output = real(self, prepared)
        now = time.perf_counter_ns()
        until = now + SLOWER * (now - began)
        while time.perf_counter_ns() < until:
            pass
        return output

    LiteRTSession.run = run
    return main(words)


def bench(bundle: str, seconds: float, out: Path, *, slow: bool) -> int:
    """Repeat the benchmark until its result is valid. Return the number of invalid results."""
    words = ["bench", "run", bundle, "--seconds", str(seconds), "--out", str(out)]
    start = [__file__, "--slowed"] if slow else ["-m", "orilla.runtime.cli"]
    for turn in range(TRIES):
        command = [sys.executable, *start, *words]
        ended = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert ended.returncode in (0, 3), command  # 3: the machine was disturbed
        if json.loads(out.read_text())["valid"]:
            return turn
    return TRIES


def verdict(a: Path, b: Path) -> dict:
    command = [sys.executable, "-m", "orilla.runtime.cli", "bench", "compare", str(a), str(b), "--json"]
    return json.loads(subprocess.run(command, check=False, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default="road")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    shuffle, right = random.Random(arguments.seed), {"same": 0, "slower": 0}
    worst, again = 0.0, 0
    for turn in range(1, arguments.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            paths = {name: Path(folder, f"{name}.json") for name in "ABC"}
            order = list("ABC")
            shuffle.shuffle(order)
            for name in order:
                again += bench(arguments.bundle, arguments.seconds, paths[name], slow=name == "C")
            same, slower = verdict(paths["A"], paths["B"]), verdict(paths["A"], paths["C"])
        near = abs(same["percent"]) <= BOUND_P50
        right["same"] += same["verdict"] == "same" and near
        right["slower"] += slower["verdict"] == "slower"
        worst = max(worst, abs(same["percent"]))
        message = [
            f"{verdict['verdict']} {verdict['percent']:+.1f} ± {verdict['plus_minus']:.1f} %"
            for verdict in (same, slower)
        ]
        noted = "; ".join(same["notes"] + slower["notes"][:1])
        print(f"{turn:2}: A against B {message[0]}, A against C {message[1]} {noted}", flush=True)
    print(
        f"same, p50 within 3 %: {right['same']} of {arguments.rounds}; slower: {right['slower']}; worst {worst:.1f} %"
    )
    print(f"invalid runs, which were repeated: {again}")
    sys.exit(min(right.values()) < arguments.rounds)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--slowed"]:
        sys.exit(slowed(sys.argv[2:]))
    main()

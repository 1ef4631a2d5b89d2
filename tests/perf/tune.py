"""Compare the choice of `orilla tune` with an exhaustive run: `python tests/perf/tune.py [BUNDLE] [--rounds 3]`.

Each round runs the tuner with its time limit. Then the round measures all candidates in turn, each equally often, and
compares the tuner's choice with the fastest candidate. The choice should be found within 60 seconds, and be at most 3 %
slower than the fastest candidate.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from orilla.devices.detect import detect
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import loader
from orilla.runtime.tune import candidates, tune

BOUND = 1.03
EACH = 6
"""Number of inferences that a candidate runs in each of its turns."""


def exhaustive(bundle: Bundle, trials: list, seconds: float) -> dict[str, float]:
    """Measure the candidates in turn for `seconds`. Return the median time of each."""
    frames = read_frames(bundle)
    variant = bundle.manifest.variant
    sessions = {
        str(trial.candidate): loader.load(
            bundle,
            variant(trial.candidate.variant),
            engine=trial.candidate.engine,
            threads=trial.candidate.threads,
        )
        for trial in trials
    }
    times: dict[str, list[float]] = {name: [] for name in sessions}
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for name, session in sessions.items():
            for index in range(EACH):
                began = time.perf_counter_ns()
                session.run(frames[index % len(frames)].prepared)
                times[name].append((time.perf_counter_ns() - began) / 1e6)
    for session in sessions.values():
        session.close()
    return {name: statistics.median(milliseconds) for name, milliseconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", nargs="?", default="road")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit of the tuner in seconds")
    parser.add_argument("--exhaustive", type=float, default=60.0, help="duration of the exhaustive run in seconds")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--max-drop", type=float, default=1.0)
    arguments = parser.parse_args()
    bundle, threads = Bundle.open(arguments.bundle), [int(word) for word in arguments.threads.split(",")]
    print(detect())
    worst = 0.0
    for _ in range(arguments.rounds):
        began = time.perf_counter()
        trials = candidates(bundle, max_drop=arguments.max_drop, threads=threads)
        chosen = str(tune(bundle, trials, began + arguments.seconds).candidate)
        took = time.perf_counter() - began
        able = [trial for trial in trials if trial.rounds]
        medians = exhaustive(bundle, able, arguments.exhaustive)
        best = min(medians, key=lambda name: medians[name])
        ratio = medians[chosen] / medians[best]
        worst = max(worst, ratio)
        print(f"{len(trials)} candidates: tune {chosen} in {took:.1f} s; exhaustive {best}; {ratio:.3f} of its time")
    print(f"worst {worst:.3f} (bound {BOUND})")
    sys.exit(worst > BOUND)


if __name__ == "__main__":
    main()

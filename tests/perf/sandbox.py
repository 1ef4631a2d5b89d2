"""Measure the cost of the trial of a model file: `python tests/perf/sandbox.py [BUNDLE] [--repeat 20]`.

The table shows the time to open a bundle without the trial, with a known bundle, and with an unknown bundle, whose
model file is tried in a separate process. `--check` fails if a known bundle takes more than 5 ms longer than without
the trial, or an unknown one more than 400 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import orilla.runtime
from orilla.runtime.bundle.bundle import find

KNOWN_MS, UNKNOWN_MS = 5.0, 400.0


def opened_ms(path: Path) -> float:
    """Return the time in milliseconds to open a bundle and load its default variant."""
    started = time.perf_counter()
    with orilla.runtime.open(path):
        return 1e3 * (time.perf_counter() - started)


def main() -> int:
    """Measure the cases interleaved, and print their medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", nargs="?", default="road")
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ["ORILLA_NO_TUNED"] = "1"
    times: dict[str, list[float]] = {"without trial": [], "known": [], "unknown": []}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ORILLA_CACHE"] = folder
        path = Path(shutil.copy(find(arguments.bundle), folder))
        opened_ms(path)
        for _ in range(arguments.repeat):
            for case, measured in times.items():
                os.environ.pop("ORILLA_NO_TRIAL", None)
                if case == "without trial":
                    os.environ["ORILLA_NO_TRIAL"] = "1"
                elif case == "unknown":
                    shutil.rmtree(Path(folder, "tried"))
                measured.append(opened_ms(path))
    medians = {case: statistics.median(measured) for case, measured in times.items()}
    known, unknown = (medians[case] - medians["without trial"] for case in ("known", "unknown"))
    if arguments.json:
        print(json.dumps({"medians_ms": medians, "known_ms": known, "unknown_ms": unknown}))
        return 0
    for case, measured in times.items():
        print(f"{case:14} median {medians[case]:7.1f} ms, minimum {min(measured):7.1f} ms, {len(measured)} times")
    print(f"a known bundle takes {known:.1f} ms longer, an unknown one {unknown:.0f} ms once")
    return int(arguments.check and (known > KNOWN_MS or unknown > UNKNOWN_MS))


if __name__ == "__main__":
    sys.exit(main())

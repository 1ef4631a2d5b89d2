"""Measure the start-up time and the memory use of a variant in a new process."""

from __future__ import annotations

import json
import subprocess
import sys

from orilla.devices.errors import EngineError
from orilla.devices.interpreter import module_command
from orilla.runtime.bench.result import ColdStart

MARK = "orilla-cold: "
INFERENCES = 10
TIMEOUT_S = 600


def measure_cold_start(bundle: str, variant: str, engine: str, threads: int) -> ColdStart:
    """Load and run a variant in a new process. Return its start-up time and memory use.

    Raises:
        EngineError: The process failed or reached its time limit.
    """
    command = module_command("orilla.runtime.bench.cold_start", bundle, variant, engine, str(threads))
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        msg = f"{variant} on {engine} did not start within {TIMEOUT_S} s"
        raise EngineError(msg) from error
    for line in ended.stdout.splitlines():
        if line.startswith(MARK):
            return ColdStart(**json.loads(line.removeprefix(MARK)))
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    msg = f"{variant} on {engine} failed to start: {lines[-1] if lines else f'exit code {ended.returncode}'}"
    raise EngineError(msg)


def main(where: str, name: str, engine: str, threads: int) -> dict[str, float | None]:
    """Measure the start-up time and the memory use in this process, which must not have loaded an engine before."""
    import time

    from orilla.devices.process import memory_mib, peak_mib, reset_peak
    from orilla.runtime.bundle.bundle import Bundle
    from orilla.runtime.bundle.golden import read_frames
    from orilla.runtime.engines import loader

    bundle = Bundle.open(where, every_file=False)
    inputs = [frame.prepared for frame in read_frames(bundle)]
    reset_peak()
    before, began = memory_mib(), time.perf_counter()
    session = loader.load(bundle, bundle.manifest.variant(name), engine=engine, threads=threads)
    loaded = time.perf_counter()
    session.run(inputs[0])
    answered = time.perf_counter()
    for index in range(INFERENCES):
        session.run(inputs[index % len(inputs)])
    peak = peak_mib()
    grown = None if peak is None or before is None else round(peak - before, 2)
    return {
        "start_ms": round((answered - began) * 1e3, 2),
        "load_ms": round((loaded - began) * 1e3, 2),
        "memory_mib": grown,
        "peak_mib": peak,
    }


if __name__ == "__main__":
    where, variant, engine, threads = sys.argv[1:]
    print(MARK + json.dumps(main(where, variant, engine, int(threads))))
    sys.stdout.flush()
    import os

    os._exit(
        0
    )  # Exit without unloading the engine, because some engines write to standard error while they are unloaded.

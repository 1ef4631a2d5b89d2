"""Load and run a model file in a sandboxed process: `python -m orilla.runtime.engines.trial ENGINE FD`.

The process prints one line of JSON. If the file makes the engine crash, the process ends by a signal instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path

from orilla.devices.sandbox import Limits, enter
from orilla.runtime.engines.examination import MARK

BASE_BYTES, PER_BYTE = 3 << 30, 16
"""Limits of a trial's address space in bytes: for libraries and their threads, and per byte of the model file."""

CPU_S = 120
"""Processor time in seconds that a trial may use."""


def main(engine: str, descriptor: int) -> dict[str, object]:
    """Run the trial of a file, and return its result.

    Args:
        engine: Name of the engine.
        descriptor: Descriptor of the file.
    """
    size = os.fstat(descriptor).st_size
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # If memory runs out, the kernel ends this process first.
    protections = enter(Limits(BASE_BYTES + PER_BYTE * size, CPU_S))
    return {"protections": protections, "error": _run(engine, descriptor, size)}


def _run(engine: str, descriptor: int, size: int) -> str | None:
    """Load the file and run it on zeros. Return the error of the engine, or None."""
    import numpy as np

    from orilla.devices.errors import OrillaError
    from orilla.runtime.engines.loader import load_bytes

    try:
        session = load_bytes(engine, os.pread(descriptor, size, 0), threads=1)
        session.run({slot.name: np.zeros(slot.shape[1:], slot.dtype) for slot in session.inputs})
        session.close()
    except OrillaError as error:
        return str(error)
    return None


if __name__ == "__main__":
    print(f"\n{MARK}{json.dumps(main(sys.argv[1], int(sys.argv[2])))}", flush=True)
    os._exit(0)  # Libraries may crash while they are unloaded, but such a crash does not depend on the file.

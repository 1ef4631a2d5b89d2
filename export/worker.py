"""Runs a conversion in a process of its own: a converter that crashes costs one variant, not the export."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConversionError, MissingExtraError

SURROUNDINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
    # The converters read TensorFlow graphs, so the child's Keras runs on TensorFlow whatever the parent's does.
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    # ONNX Runtime's quantiser walks sets: with random hashes the same model would make other bytes every time.
    "PYTHONHASHSEED": "0",
}
"""What a child's environment says beside the parent's."""


def call(function: str, **arguments: Any) -> None:
    """Calls `module:function` with JSON arguments in a child process.

    Raises:
        ConversionError: it failed or crashed, with its reason.
        MissingExtraError: a package that it needs is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "log.txt")
        job = json.dumps({"function": function, "arguments": arguments, "answer": str(answer)})
        with log.open("wb") as output:
            child = subprocess.run(
                [sys.executable, "-m", "orilla.export.worker"],
                input=job.encode(),
                stdout=output,
                stderr=output,
                env={**os.environ, **SURROUNDINGS},
                check=False,
            )
        if child.returncode == 0:
            return
        if not answer.exists():
            raise ConversionError(f"the converter {_ended(child.returncode)}{_last_line(log)}")
        problem = json.loads(answer.read_text())
        if problem["missing"]:
            raise MissingExtraError(problem["missing"], "export")
        raise ConversionError(problem["reason"])


def main() -> int:
    """The child: reads the job, does it, leaves the reason where it fails."""
    job = json.loads(sys.stdin.read())
    module, _, name = job["function"].partition(":")
    try:
        getattr(import_module(module), name)(**job["arguments"])
    except Exception as error:  # noqa: BLE001 - whatever a converter raises is the reason that the parent tells
        missing = error.name if isinstance(error, ImportError) else None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
        Path(job["answer"]).write_text(json.dumps({"reason": reason[:400], "missing": missing}))
        return 1
    return 0


def _ended(code: int) -> str:
    return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code}"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""


if __name__ == "__main__":
    sys.exit(main())

"""Run Coral's compiler on a `.tflite` file, and read the table of operators from its log."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from orilla.devices.errors import ConversionError

COMMAND = "edgetpu_compiler"
TIMEOUT_S = 300
ROW = re.compile(r"^([A-Za-z_][A-Za-z_0-9]*)\s+(\d+)\s+(\S.*)$")
VERSION = re.compile(r"Edge TPU Compiler version (\S+)")
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
FAILED = ("Model not quantized", "Internal compiler error", "Compilation failed", "Invalid model", "Error")


@dataclass(frozen=True, slots=True)
class Compiled:
    """Output of the compiler."""

    version: str
    rows: tuple[tuple[str, int, str], ...]
    """Operator name, count and status of each row. An operator may occur in several rows."""
    log: str
    cached_bytes: int | None = None
    """Number of bytes of parameters that stay on the chip. None if the log does not state it."""
    streamed_bytes: int | None = None
    """Number of bytes of parameters that are sent for each inference. None if the log does not state it."""
    model: bytes = b""
    """Content of the compiled file for the Edge TPU."""


def installed() -> str | None:
    """Return the path of the compiler, or None if it is not on PATH."""
    return shutil.which(COMMAND)


def compile_model(data: bytes) -> Compiled:
    """Run the compiler on the content of a `.tflite` file.

    Raises:
        ConversionError: The compiler rejects the model, cannot be started, or exceeds its time limit. The message gives
            the reason.
    """
    with tempfile.TemporaryDirectory(prefix="orilla-edgetpu-") as folder:
        model = Path(folder, "model.tflite")
        model.write_bytes(data)
        command = [COMMAND, "-s", "-o", folder, str(model)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            msg = f"{COMMAND} did not finish: {error}"
            raise ConversionError(msg) from error
        made = Path(folder, "model_edgetpu.tflite")
        compiled = made.read_bytes() if made.is_file() else b""
    log = f"{ended.stdout}\n{ended.stderr}".strip()
    reason = next((line.strip() for line in log.splitlines() if line.strip().startswith(FAILED)), None)
    if ended.returncode or reason:
        msg = f"{COMMAND} rejects the model: {reason or f'exit code {ended.returncode}'}"
        raise ConversionError(msg)
    return replace(parse(log), model=compiled)


def parse(log: str) -> Compiled:
    """Read a log of `edgetpu_compiler -s`. Raises `ConversionError` if the log has no table of operators."""
    rows = [
        (match[1], int(match[2]), match[3].strip())
        for line in log.splitlines()
        if (match := ROW.match(line.strip())) and match[1] != "Operator"
    ]
    if not rows:
        msg = f"{COMMAND} printed no table of operators"
        raise ConversionError(msg)
    version = VERSION.search(log)
    cached, streamed = (_size(line, log) for line in ("On-chip memory used", "Off-chip memory used"))
    return Compiled(version[1] if version else "unknown", tuple(rows), log, cached, streamed)


def _size(line: str, log: str) -> int | None:
    found = re.search(rf"^{line}[^:]*:\s*([\d.]+)\s*(B|KiB|MiB)", log, re.MULTILINE)
    return int(float(found[1]) * UNITS[found[2]]) if found else None

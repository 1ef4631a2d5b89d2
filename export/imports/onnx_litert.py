"""Convert `.onnx` files to `.tflite` files with the command `onnx2tf`, which runs in a separate Python environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orilla.export.imports.onnx_interface import with_interface_of

RUNS_OTHER_PROGRAMS = True
"""True because onnx2tf is a separate program in its own environment. The protections of the fork server are therefore
off."""

COMMAND = "ORILLA_ONNX2TF"
"""Environment variable with the path of the command `onnx2tf`. If it is not set, `onnx2tf` must be on `PATH`."""

TIMEOUT_S = 1800.0
"""Time limit of a conversion in seconds."""

SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""Name of a file with sample images on which onnx2tf compares the outputs of operators. Without this file, onnx2tf
would download it. Source: onnx2tf (MIT), `download_test_image_data` in `onnx2tf/utils/common_functions.py`."""

REASON = re.compile(r"(ERROR|[\w.]*(Error|Exception))\b *:")
"""Start of the line that states why onnx2tf failed."""


def convert(model: str, out: str) -> None:
    """Convert a float `.onnx` file with fixed sizes to a float `.tflite` file.

    The inputs of images become NHWC. The other inputs and the outputs keep their shapes and names.

    Args:
        model: Path of the `.onnx` file.
        out: Path of the `.tflite` file to write.

    Raises:
        ValueError: `onnx2tf` is missing or fails, or the outputs of its file differ. The message states the reason.
    """
    command = _command()
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        work = Path(folder)
        shutil.copyfile(model, work / "model.onnx")
        np.save(work / SAMPLES, np.random.default_rng(0).random((20, 128, 128, 3), np.float32))
        _run([command, "-i", "model.onnx", "-o", "converted", "-n", *_kept_inputs(work / "model.onnx")], work)
        files = sorted((work / "converted").glob("*_float32.tflite"))
        if len(files) != 1:
            msg = f"onnx2tf wrote {len(files)} float32 files instead of one"
            raise ValueError(msg)
        Path(out).write_bytes(with_interface_of(Path(model), files[0].read_bytes()))


def _command() -> str:
    """Return the path of `onnx2tf`. Raise `ValueError` if it is missing."""
    stated = os.environ.get(COMMAND)
    found = shutil.which(stated or "onnx2tf")
    if found is not None:
        return found
    missing = f"{COMMAND}={stated} is not a command" if stated else "the converter onnx2tf is not installed"
    msg = (
        f"{missing}: onnx2tf needs a separate environment, so run `python -m venv onnx2tf && onnx2tf/bin/pip "
        f"install onnx2tf`, and set {COMMAND} to the path of onnx2tf/bin/onnx2tf"
    )
    raise ValueError(msg)


def _run(command: Sequence[str], folder: Path) -> None:
    """Run the command in a folder. Raise `ValueError` with one line if it fails."""
    # The packages of this environment must not be imported in the environment of onnx2tf.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONHASHSEED": "0", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"onnx2tf did not end within {TIMEOUT_S:g} s"
        raise ValueError(msg) from error
    if ended.returncode != 0:
        msg = f"onnx2tf failed: {_reason(ended.stdout.decode(errors='replace'))}"
        raise ValueError(msg)


def _reason(output: str) -> str:
    """Return the line of the output that states why the command failed."""
    text = re.sub(r"\x1b\[[\d;]*m", "", output)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    reasons = [line for line in lines if REASON.match(line)]
    return (reasons or lines or ["no reason given"])[-1][:300]


def _kept_inputs(model: Path) -> list[str]:
    """Return the options that keep the shapes of all inputs except those of images with the channels first."""
    import onnx

    graph = onnx.load(str(model)).graph
    weights = {tensor.name for tensor in graph.initializer}
    kept = [value.name for value in graph.input if value.name not in weights and not _is_planes(value)]
    return ["-kat", *kept] if kept else []


def _is_planes(value: Any) -> bool:
    """Return True for an image whose channels come first."""
    shape = [int(axis.dim_value) for axis in value.type.tensor_type.shape.dim]
    return len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)

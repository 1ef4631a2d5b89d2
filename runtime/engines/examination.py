"""Try a model file in a sandboxed process before this process loads it, and remember the files that passed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from orilla.devices.errors import ConfigError, EngineError
from orilla.runtime.engines.registry import ENGINES, installed, known
from orilla.runtime.files import cache_folder

DISABLED = "ORILLA_NO_TRIAL"
"""Environment variable that disables trials."""

MARK = "orilla-trial: "
"""Prefix of the line with the result of a trial. Libraries may print before and after it."""

LIMIT_S = 300.0
"""Time limit of a trial in seconds. Small machines need minutes for large models."""

PROXIES = {"edgetpu": "litert"}
"""Engines that need their own device, and for each the engine that tries its files instead. ONNX Runtime uses its CPU
engine."""

REASONS = {
    signal.SIGXCPU: "needs too much time",
    signal.SIGKILL: "needs too much memory, or was ended by the system,",
}
"""Description of a file's effect, by the signal that ended the trial's process."""

ENVIRONMENT = {
    "MALLOC_PERTURB_": "165",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def examine(engine: str, data: bytes, digest: str) -> None:
    """Try a model file, unless it has passed a trial on this machine before.

    Args:
        engine: Name of the engine that will run the file.
        data: Content of the file.
        digest: SHA-256 (hex) of the file.

    Raises:
        EngineError: The file crashes the engine, or needs too much memory or time.
    """
    tried = _engine_of(engine)
    if tried is None or not installed(tried) or os.environ.get(DISABLED):
        return
    mark = _mark(tried, digest)
    if mark is not None and mark.exists():
        return
    code, output, error = _try(tried, data)
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        what = REASONS.get(-code, "crashes the engine")  # type: ignore[call-overload]
        msg = (
            f"this model file {what} `{tried}` ({name}), so it was not loaded: get it again, or ask its author; "
            "docs/sandbox.md explains the trial"
        )
        raise EngineError(msg)
    if code > 0:
        lines = error.strip().splitlines()
        msg = f"cannot try this model file on `{tried}`: {lines[-1][:200] if lines else f'exit code {code}'}"
        raise EngineError(msg)
    if _passed(output) and mark is not None:
        _remember(mark)


def _engine_of(engine: str) -> str | None:
    """Return the engine that tries the files of an engine. None for a plug-in's engine, because its needs are unknown.

    ONNX Runtime engines read files with the same code, whatever their provider is.
    """
    if engine not in ENGINES.built_in:
        return None
    return "onnx" if engine.startswith("onnx:") else PROXIES.get(engine, engine)


def _try(engine: str, data: bytes) -> tuple[int, str, str]:
    """Run the trial. Return the exit code of its process, its output and its error output."""
    descriptor = os.memfd_create("model", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(data)
        command = [sys.executable, "-P", "-m", "orilla.runtime.engines.trial", engine, str(descriptor)]
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        ended = subprocess.run(
            command,
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"this model file needs more than {LIMIT_S:g} s on `{engine}` for one inference, so it was not loaded"
        raise EngineError(msg) from error
    except OSError as error:
        msg = f"cannot start a process that tries this model file: {error.strerror or error}; {DISABLED}=1 skips it"
        raise EngineError(msg) from error
    finally:
        os.close(descriptor)
    return ended.returncode, ended.stdout, ended.stderr


def _passed(output: str) -> bool:
    """Return True if the engine ran the file.

    A rejected file is not marked as passed, so each later trial also rejects it.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            return json.loads(line.removeprefix(MARK))["error"] is None
    return False


def _mark(engine: str, digest: str) -> Path | None:
    """Return the path of the mark: a file that exists if the model file has passed.

    None if marks cannot be trusted here.

    The name depends on the installed package of the engine, because a different version can crash on the same file.
    """
    packages = []
    for package in known(engine).packages:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            packages.append(f"{spec.origin} {Path(spec.origin).stat().st_mtime_ns}")
    try:
        folder = cache_folder() / "tried"
        if folder.exists():
            status = folder.stat()
            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                return None
    except (OSError, ConfigError):
        return None
    return folder / hashlib.sha256(f"{digest} {engine} {packages}".encode()).hexdigest()


def _remember(mark: Path) -> None:
    """Create a mark. If this fails, the model file is tried again the next time."""
    try:
        mark.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        mark.touch(mode=0o600)
    except OSError:
        return

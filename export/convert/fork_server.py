"""Run each conversion in its own process, so that a crash of the converter affects only one variant.

A server process imports TensorFlow before the first job that needs it, and forks itself for each job. The import takes
seconds, but a fork takes only milliseconds, and each job starts from the same clean state.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from orilla.devices.errors import ConversionError, MissingExtraError, OutputError
from orilla.devices.sandbox import Limits, enter
from orilla.export.convert.failure import reason

CHILD_ENV = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "PYTHONWARNINGS": "ignore",
    # The converters read TensorFlow graphs, so Keras must use TensorFlow in the child processes.
    "KERAS_BACKEND": "tensorflow",
    "CUDA_VISIBLE_DEVICES": "-1",
    # ONNX Runtime's quantiser iterates over sets. With random hashes, the same model would give different files.
    "PYTHONHASHSEED": "0",
    # A file keras.py in the current folder must not be imported in place of Keras.
    "PYTHONSAFEPATH": "1",
}
"""Environment variables of the child processes, in addition to those of the parent."""

OUTPUTS = ("out", "jobs")
"""Names of the arguments that are files to write. A function may only write into the folders of these files."""

RUNS_OTHER_PROGRAMS = "RUNS_OTHER_PROGRAMS"
"""Name of a constant. Functions of modules that set it to True run without protection, because they need the network or
start other programs."""

WITHOUT_TENSORFLOW = ("orilla.export.imports.", "orilla.export.quantize.")
"""Starts of the names of the modules that do not need TensorFlow. Most imports of `.tflite` and `.onnx` files use only
these modules."""

EXTRAS = {"torch": "torch", "onnxscript": "torch"}
"""Optional extra of packages that `export` does not install."""


def call(function: str, **arguments: Any) -> None:
    """Call a function with JSON arguments in a child process.

    Args:
        function: Name of the function, in the form `module:function`.
        arguments: Keyword arguments of the function. It may only write into the folders of `out` and `jobs`, and has
            no network, unless its module sets `RUNS_OTHER_PROGRAMS`.

    Raises:
        ConversionError: The function failed, or its process crashed. The message gives the reason.
        MissingExtraError: A required package is not installed.
        OutputError: The disk is full.
    """
    with tempfile.TemporaryDirectory(prefix="orilla-") as folder:
        answer, log = Path(folder, "answer.json"), Path(folder, "log.txt")
        job = {"function": function, "arguments": arguments, "answer": str(answer), "log": str(log)}
        code = _SERVER.run(job)
        if code == 0:
            return
        if code == FULL:
            raise no_space()
        if not answer.exists():
            msg = f"the converter {_ended(code)}{_last_line(log)}"
            raise ConversionError(msg)
        problem = json.loads(answer.read_text())
        if problem["missing"]:
            raise MissingExtraError(problem["missing"], EXTRAS.get(problem["missing"], "export"))
        raise ConversionError(problem["reason"])


def no_space() -> OutputError:
    """Return the error for a full disk in the folder for temporary files."""
    return OutputError(f"no space left in {tempfile.gettempdir()}: set TMPDIR to a folder on a larger disk")


def close() -> None:
    """Stop the fork server. The next call starts a new one."""
    _SERVER.close()


class _ForkServer:
    """Handle of the fork server, which starts with the first job and ends with the current process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def run(self, job: dict[str, Any]) -> int:
        """Run one job in a fork, and return its exit code, or the negative number of the signal that ended it."""
        with self._lock:
            process = self._process
            if process is None or process.poll() is not None:
                process = self._process = self._start()
            stdin, stdout = process.stdin, process.stdout
            assert stdin is not None
            assert stdout is not None
            try:
                stdin.write(json.dumps(job) + "\n")
                stdin.flush()
                line = stdout.readline()
            except BrokenPipeError:
                line = ""
            except BaseException:  # An interrupt stops the server together with its job.
                self._end()
                raise
            if not line:
                code = process.wait() or 1
                self._end()
                return code
            return int(line)

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with contextlib.suppress(BrokenPipeError):  # The pipe may contain an incomplete job.
                    pipe.close()
            self._process = None

    @staticmethod
    def _start() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "orilla.export.convert.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **CHILD_ENV},
            text=True,
            start_new_session=True,
        )


_SERVER = _ForkServer()


def main() -> int:
    """Read one job per line from standard input, run it in a fork, and write its exit code to standard output."""
    replies = os.fdopen(os.dup(1), "w")
    _silence(Path(os.devnull))
    for line in sys.stdin:
        job = json.loads(line)
        if not job["function"].startswith(WITHOUT_TENSORFLOW):
            _import_tensorflow()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = _work(job)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=replies, flush=True)
    return 0


def _import_tensorflow() -> None:
    for name in ("tensorflow", "keras"):
        # A job that needs a missing package will report it.
        with contextlib.suppress(ImportError):
            import_module(name)


def _work(job: dict[str, Any]) -> int:
    """Run one job and return its exit code. If the job fails, write the reason to its answer file."""
    _silence(Path(job["log"]))
    # The temporary files of this job, including TensorFlow's generated code, are deleted together with its folder.
    tempfile.tempdir = os.environ["TMPDIR"] = str(Path(job["answer"]).parent)
    name, _, function = job["function"].partition(":")
    try:
        module = import_module(name)
        if not getattr(module, RUNS_OTHER_PROGRAMS, False):
            _protect(job)
        getattr(module, function)(**job["arguments"])
    except Exception as error:  # noqa: BLE001 - Converters raise many types of exceptions.
        if NO_SPACE in str(error):  # A full disk has no space for the answer file either.
            return FULL
        missing = error.name if isinstance(error, ImportError) else None
        answer = Path(job["answer"])
        partial = answer.with_suffix(".partial")
        partial.write_text(json.dumps({"reason": reason(error), "missing": missing}))
        partial.rename(answer)
        return 1
    return 0


def _protect(job: dict[str, Any]) -> None:
    """Block the network, and all writing outside the folders of the job's results."""
    outputs = [Path(job["arguments"][name]).parent for name in OUTPUTS if name in job["arguments"]]
    enter(Limits(None, None, file_bytes=None, writable=(Path(job["answer"]).parent, *outputs)))


NO_SPACE, FULL = os.strerror(errno.ENOSPC), 128 + errno.ENOSPC
"""The operating system's message for a full disk, and the exit code of a job that fails because of a full disk."""


def _silence(log: Path) -> None:
    """Redirect the output of Python and of native libraries to a file."""
    with log.open("wb") as output:
        for stream in (sys.stdout, sys.stderr):
            _flush(stream)
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def _flush(stream: IO[str]) -> None:
    stream.flush()


def _ended(code: int) -> str:
    if -code == signal.SIGKILL:
        return "was killed, probably because memory ran out"
    if -code == signal.SIGALRM:
        return "exceeded its time limit: the model takes too long, or never ends"
    return f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with exit code {code}"


def _last_line(log: Path) -> str:
    if not log.exists():
        return ""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""


if __name__ == "__main__":
    sys.exit(main())

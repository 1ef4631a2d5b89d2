"""Run the command line, either in a separate process, as a user does, or in the current process."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from orilla.runtime.cli import main


def orilla(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command. Return the completed process with its output as text."""
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def here(*words: object) -> subprocess.CompletedProcess[str]:
    """Run one command in this process, which is faster if it needs TensorFlow. The result is that of `orilla`."""
    arguments = [str(word) for word in words]
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        code = main(arguments)
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


def refuse(*words: object, match: str, run: Callable[..., subprocess.CompletedProcess[str]] = orilla) -> None:
    """Run a command that must fail with exit code 2 and one line on standard error that contains `match`."""
    ended = run(*words)
    assert ended.returncode == 2, (ended.returncode, ended.stdout, ended.stderr)
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("orilla: ")
    assert match in lines[0], lines[0]

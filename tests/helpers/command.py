"""Run the command line in a separate process, as a user does."""

import subprocess
import sys
from typing import Any


def orilla(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run one command. Return the completed process with its output as text."""
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def refuse(*words: object, match: str) -> None:
    """Run a command that must fail with exit code 2 and one line on standard error that contains `match`."""
    ended = orilla(*words)
    assert ended.returncode == 2, (ended.returncode, ended.stdout, ended.stderr)
    assert ended.stdout == ""
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("orilla: ")
    assert match in lines[0], lines[0]

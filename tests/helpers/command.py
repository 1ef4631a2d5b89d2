"""Run the command line in a process of its own, as a user does."""

import subprocess
import sys


def orilla(*words, **options):
    """Run one command and return the completed process with its text output."""
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


def refuse(*words, match):
    """Run a command that must fail with exit code 2 and one line on standard error that contains `match`."""
    done = orilla(*words)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("orilla: ")
    assert match in lines[0], lines[0]

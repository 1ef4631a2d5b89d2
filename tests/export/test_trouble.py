"""An export that runs out of memory or disk space, or is interrupted, prints one line and leaves no file behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orilla.devices.errors import ConversionError, OutputError
from orilla.export.convert import fork_server

COMMAND = (sys.executable, "-m", "orilla.runtime.cli", "export")


def started(run, out, temporary, *words):
    surroundings = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.Popen(
        [*COMMAND, str(run), "--out", str(out), *words],
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # If pytest runs in the background of a shell, it ignores interrupts. This process would inherit that setting.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def descendants(pid):
    """Return all descendants of a process: its children, their children, and so on."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(child): int(parent) for child, parent in (line.split() for line in listed.splitlines())}
    tree = {pid}
    while children := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= children
    return tree - {pid}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_export_leaves_nothing(tiny_run, tmp_path, number):
    temporary, out = tmp_path / "tmp", tmp_path / "out"
    temporary.mkdir()
    out.mkdir()
    process = started(tiny_run, out / "t.orilla", temporary)
    # This file appears while the export converts the model. `os.walk` tolerates folders that are removed meanwhile.
    wait_for(lambda: any("base0.tflite" in files for _, _, files in os.walk(temporary)))
    helpers = descendants(process.pid)
    assert helpers
    process.send_signal(number)
    _, hints = process.communicate(timeout=60)
    assert process.returncode == 130, hints
    assert "Traceback" not in hints
    assert list(out.iterdir()) == []
    assert list(temporary.iterdir()) == []
    wait_for(lambda: not any(Path(f"/proc/{helper}").exists() for helper in helpers), 10)


@pytest.mark.parametrize("size", ["64k", "200k"])
def test_no_space_for_temporary_files(tiny_run, tmp_path, size):
    """The disk is too small for the prepared samples, or it holds the samples but not the converters' files."""
    small, out = tmp_path / "small", tmp_path / "out"
    small.mkdir()
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("this machine does not allow the test to mount a file system")
    try:
        process = started(tiny_run, out / "t.orilla", small, "--recipes", "litert_fp32,litert_wi8_ai8")
        _, hints = process.communicate(timeout=120)
        assert process.returncode == 2, hints
        assert len(hints.strip().splitlines()) == 1
        assert "o space left" in hints
        assert "TMPDIR" in hints
        assert list(out.iterdir()) == []
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def run_in_converter(folder, code):
    """Run Python code in a process of the fork server, which is sandboxed like a conversion."""
    script = folder / "job.py"
    script.write_text(code)
    fork_server.call("runpy:run_path", path_name=str(script))


def test_a_converter_that_the_system_kills_is_out_of_memory(tmp_path):
    with pytest.raises(ConversionError, match="was killed, probably because memory ran out"):
        run_in_converter(tmp_path, "import signal\nsignal.raise_signal(signal.SIGKILL)\n")


def test_a_converter_that_is_refused_memory():
    with pytest.raises(ConversionError, match=r"^out of memory$"):
        fork_server.call("numpy:zeros", shape=1 << 56)


def test_a_full_disk_ends_the_export_not_a_variant(tmp_path):
    with pytest.raises(OutputError, match=r"no space left in .*: set TMPDIR to a folder on a larger disk"):
        run_in_converter(tmp_path, "import errno, os\nraise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n")

"""A program that does not read standard output or standard error changes neither the loop nor the exit code."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orilla.runtime.terminal import messages
from orilla.runtime.terminal.messages import print_message

LIMIT_S = 120.0
"""Time after which a test fails. It is long, because the machine may be busy."""

ORILLA = f"{sys.executable} -m orilla.runtime.cli"

LOSES_CAMERA = """
import sys
from orilla.runtime.frame import Event
from orilla.runtime.sources import scenes

open_source = scenes.open_source

class Losing:
    def __init__(self, source):
        self.source, self.count = source, 0

    def __getattr__(self, name):
        return getattr(self.source, name)

    def read(self):
        self.count += 1
        if self.count in (2, 4):
            return Event(["lost", "back"][self.count // 4], 2, 0, "the camera was lost " + "x" * 200)
        return self.source.read()

scenes.open_source = lambda *words: Losing(open_source(*words))
from orilla.runtime.cli import main
sys.exit(main())
"""


def shell(command: str, **options) -> subprocess.CompletedProcess[str]:
    """Run a command of Bash."""
    return subprocess.run(
        ["bash", "-c", command], text=True, capture_output=True, check=False, timeout=LIMIT_S, **options
    )


def loop(tmp_path: Path, bundle: Path) -> tuple[str, Path]:
    """Return a command that runs a loop which loses its camera, and the file of its answers."""
    script, out = tmp_path / "losing.py", tmp_path / "answers.jsonl"
    script.write_text(LOSES_CAMERA)
    return f"{sys.executable} {script} run {bundle} --source scenes --policy every --frames 5 --sink jsonl:{out}", out


@pytest.mark.parametrize(
    "where",
    ["2> /dev/full", "2>&-", "2> >(true)", "2> errors.txt"],
    ids=["full disk", "closed", "nobody reads", "file"],
)
def test_a_lost_camera_does_not_end_the_loop(where: str, tiny_bundle: Path, tmp_path: Path):
    command, out = loop(tmp_path, tiny_bundle)
    ended = shell(f"{command} {where}", cwd=tmp_path)
    if "errors" in where:
        assert "the camera was lost" in (tmp_path / "errors.txt").read_text()
    assert ended.returncode == 0
    assert ended.stdout == ""
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert sum("result" in answer or "index" in answer for answer in answers) >= 5


def test_a_reader_of_standard_error_that_stopped_does_not_stop_the_loop(tiny_bundle: Path, tmp_path: Path):
    command, out = loop(tmp_path, tiny_bundle)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"." * 4096)
    os.set_blocking(writer, True)
    try:
        ended = subprocess.run(command.split(), stderr=writer, check=False, timeout=LIMIT_S)
    finally:
        os.close(reader)
        os.close(writer)
    assert ended.returncode == 0
    assert len(out.read_text().splitlines()) >= 5


def test_a_message_without_a_reader_is_lost(monkeypatch: pytest.MonkeyPatch):
    class Full:
        def fileno(self) -> int:
            raise OSError(errno.EBADF, "closed")

        def write(self, text: str) -> None:
            raise OSError(errno.ENOSPC, "full")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "full")

    for stream in (None, Full()):
        monkeypatch.setattr(sys, "stderr", stream)
        print_message("the camera is lost")


def test_a_long_message_is_cut(capfd: pytest.CaptureFixture[str]):
    print_message("x" * 10_000)
    assert len(capfd.readouterr().err) == messages.MAX_BYTES


@pytest.mark.parametrize("pipe", ["| true", "2>&1 | head -c 1", "2>&1 | grep -q ."])
@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_in_a_pipe_is_the_verdict(pipe: str, code: int, tiny_bundle: Path, tmp_path: Path):
    """With `pipefail`, the exit code of the pipe is the exit code of `orilla verify`."""
    budget = tmp_path / "budgets.toml"
    budget.write_text(f'[[budget]]\nbundle = "tiny"\nvariant = "litert_fp32"\nmax_mib = {1 if code == 0 else 1e-6}\n')
    command = f"{ORILLA} verify {tiny_bundle} --variant litert_fp32 --budget {budget}"
    assert shell(f"set -o pipefail; {command} {pipe} > /dev/null").returncode == code


def test_a_result_that_cannot_be_written_is_an_error(tiny_bundle: Path):
    ended = shell(f"{ORILLA} show {tiny_bundle} > /dev/full")
    assert ended.returncode == 2
    assert ended.stderr.startswith("orilla: standard output: ")


def test_a_closed_stream_is_replaced(tiny_bundle: Path, tmp_path: Path):
    """Otherwise, the first file that the command opens would receive the messages of libraries."""
    command, out = loop(tmp_path, tiny_bundle)
    ended = shell(f"{command} 0<&- 1>&- 2>&-")
    assert ended.returncode == 0
    for line in out.read_text().splitlines():
        json.loads(line)

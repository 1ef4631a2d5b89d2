"""The output of commands on terminals of 80 and 60 characters: no word is broken, and no line is too long."""

import contextlib
import os
import pty
import re
import subprocess
import sys

import pytest
from rich.console import Console
from rich.table import Table

from orilla.runtime.cli import COMMANDS, main
from orilla.runtime.terminal.fitting import fitted, wrapped

WIDTHS = (80, 60)


def on_terminal(width, *words):
    """Run a command on a pseudo-terminal. Return its lines without escape sequences."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "orilla.runtime.cli", *map(str, words)]
    environment = os.environ | {"COLUMNS": str(width), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=slave, stderr=slave, stdin=slave, env=environment)
    os.close(slave)
    parts = []
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # The command has ended.
            break
        if not part:
            break
        parts.append(part)
    process.wait(timeout=60)
    os.close(master)
    text = b"".join(parts).decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "").splitlines()


def check(lines, width):
    assert lines
    for line in lines:
        assert "…" not in line, line
        # A word that is longer than the terminal, such as a path, has a separate line.
        assert len(line.rstrip()) <= width or len(line.split()) == 1, line


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "words",
    [
        ("show", "road"),
        ("show", "mobilenet"),
        ("verify", "probe"),
        ("devices",),
        ("devices", "pi4"),
        ("data", "list"),
        ("bench", "estimate", "road", "--device", "pi4"),
        ("run", "road", "--source", "scenes", "--dry-run"),
    ],
    ids=" ".join,
)
def test_output(words, width):
    check(on_terminal(width, *words), width)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help(name, width, capsys, monkeypatch):
    texts = []
    for columns in (width, 2000):
        monkeypatch.setenv("COLUMNS", str(columns))
        with contextlib.suppress(SystemExit):
            assert main([name, "--help"] if name else ["--help"]) == 0
        texts.append(capsys.readouterr().out)
    narrow, wide = texts
    assert not [line for line in narrow.splitlines() if len(line) > width and len(line.split()) > 1]
    assert [word for word in narrow.split() if word != "\\"] == wide.split()


def table():
    made = Table(title="engines", box=None, padding=(0, 2, 0, 0))
    for name in ("engine", "how to install it", "size"):
        made.add_column(name)
    made.add_row("onnx:openvino", "pip install onnxruntime-openvino in another environment", "12.5 MiB")
    made.add_row("litert", "yes", "")
    return made


@pytest.mark.parametrize("width", [200, 60, 40, 30])
def test_tables_keep_every_word(width, capsys):
    console = Console(width=width, markup=False, highlight=False)
    console.print(fitted(table(), console))
    output = capsys.readouterr().out
    assert {"onnx:openvino", "onnxruntime-openvino", "environment", "litert", "12.5"} <= set(output.split())
    assert max(len(line.rstrip()) for line in output.splitlines()) <= width
    assert "…" not in output


def test_a_line_is_broken_between_words():
    line = "next: orilla verify --budget a-very-long-name.orilla"
    assert wrapped(line, 80) == line
    assert wrapped(line, 30) == "next: orilla verify --budget\n  a-very-long-name.orilla"
    assert wrapped("  x " + "y" * 40, 30) == "  x\n    " + "y" * 40

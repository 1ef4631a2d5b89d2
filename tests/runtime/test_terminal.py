"""The console to which the command line prints its results."""

import io
import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from orilla.runtime.terminal import progress
from orilla.runtime.terminal.console import ResultConsole
from orilla.runtime.terminal.text import PIPE_WIDTH


def test_control_characters_are_replaced_in_lines_and_tables(capsys):
    console = ResultConsole()
    table = Table("name")
    table.add_row("\x1b[2Jroad")
    console.print_line("red\x1b[31m [bold]text[/bold] :car:")
    console.print_table(table)
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert output.startswith("red?[31m [bold]text[/bold] :car:\n")
    assert "?[2Jroad" in output


def test_lines_are_not_wrapped_in_a_pipe(capsys):
    line = "word " * PIPE_WIDTH
    ResultConsole(stderr=True).print_line(line)
    assert capsys.readouterr().err == line + "\n"


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m orilla.runtime.cli show road | true; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_status_moves_in_one_line_of_the_terminal(monkeypatch):
    output = io.StringIO()
    shown = progress.TerminalProgress()
    shown._console = Console(file=output, force_terminal=True, width=40)
    monkeypatch.setattr(progress, "REFRESH_HZ", 20.0)
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with shown:
        shown.status("building variant 3 of 12: " + 10 * "litert_wi8_ai8 ")
        time.sleep(0.4)
    text = output.getvalue()
    assert "building variant 3 of 12" in text
    assert "0:21 building" in text
    assert "0:42 building" in text
    assert "\n\n" not in text
    assert max(len(part) for part in text.replace("\r", "\n").splitlines()) < 120  # This includes escape sequences.

"""The console to which the command line prints its results."""

import subprocess
import sys

from rich.table import Table

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

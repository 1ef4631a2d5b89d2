"""Escape sequences in names, labels and messages do not reach the terminal."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers import factories

from orilla.runtime.cli import main
from orilla.runtime.terminal.console import ResultConsole
from orilla.runtime.terminal.messages import print_message
from orilla.runtime.terminal.progress import TerminalProgress

ESCAPES = ("\x1b[31m", "\x1b]0;title\x07", "\x9b31m", "\x1b[2J", "\r", "\b\b", "\x7f", "\u202e", "\x1bP")


def is_clean(text: str) -> bool:
    return all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("escape", ESCAPES)
def test_messages_tables_and_progress(escape: str, capfd: pytest.CaptureFixture[str]):
    from rich.table import Table

    text = f"camera {escape} lost"
    print_message(text)
    progress = TerminalProgress()
    progress.message(text)
    progress.milestone(text)
    for stderr in (False, True):
        console = ResultConsole(stderr=stderr)
        console.print_line(text)
        table = Table(title=text)
        table.add_column(text)
        table.add_row(text)
        console.print_table(table)
    printed = capfd.readouterr()
    assert "camera" in printed.out
    assert "camera" in printed.err
    assert is_clean(printed.out)
    assert is_clean(printed.err)


@pytest.mark.parametrize("escape", ["\x1b[31m", "\x9b31m", "\x1b]0;title\x07"])
def test_names_of_files_and_folders(escape: str, tiny_bundle: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    folder = tmp_path / f"a{escape}b"
    for index, name in enumerate(("cat", f"dog{escape}")):
        for number in range(4):
            factories.write_picture(folder / name / f"{escape}{number}.png", factories.picture(seed=4 * index + number))
    (folder / f"{escape}.png").write_bytes(b"nonsense")
    cv2.imwrite(str(folder / "z.png"), np.zeros((20, 30, 3), np.uint8))
    main(["data", "show", str(folder)])
    main(["run", str(tiny_bundle), "--source", str(folder), "--sink", "text"])
    main(["run", str(tiny_bundle), "--source", str(folder / "cat"), "--sink", "text"])
    main(["show", str(tmp_path / f"{escape}.orilla")])
    main([f"show{escape}"])
    printed = capfd.readouterr()
    assert is_clean(printed.err), repr(printed.err)
    assert is_clean(printed.out), repr(printed.out)

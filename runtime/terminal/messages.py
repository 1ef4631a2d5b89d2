"""Write messages to standard error."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from shutil import get_terminal_size

from orilla.runtime.terminal.text import printable

WAIT_MS = 200
"""Longest time in milliseconds to wait until the reader of standard error has room for a message."""

MAX_BYTES = 4096
"""Maximum size of a message in bytes. A pipe that is ready takes a message of this size without waiting.

Source: pipe(7), PIPE_BUF.
"""


def print_message(text: str) -> None:
    """Write one line to standard error, without control characters.

    The message is lost if nobody can receive it: standard error is closed, its disk is full, or the program that reads
    it has stopped. A robot must continue in all these cases.
    """
    stream = sys.stderr
    text = printable(text)
    with suppress(AttributeError, ValueError):  # Standard error is missing, closed, or replaced by another object.
        if stream.isatty():
            from orilla.runtime.terminal.fitting import wrapped

            text = wrapped(text, get_terminal_size().columns)
    line = text.encode(errors="replace")[: MAX_BYTES - 1] + b"\n"
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):  # Standard error is closed, or replaced by another object.
        _print(line)
        return
    with suppress(OSError, ValueError):  # Nobody can receive the message.
        stream.flush()
        poll = select.poll()
        poll.register(number, select.POLLOUT)
        if poll.poll(WAIT_MS):
            os.write(number, line)


def _print(line: bytes) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(line.decode(errors="replace"), end="", file=sys.stderr)

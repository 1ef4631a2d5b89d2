"""Write lines to standard output, one per tick. The sinks `jsonl` and `text` use it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from orilla.devices.errors import OutputError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.sink import Sink
from orilla.runtime.stdio import drop_stdout, reason_of_output


class StandardOutput(Sink):
    """Writes one line per tick, and flushes it so that a reader sees each answer immediately.

    Args:
        line: Function that returns the line for a tick, without its line break.
    """

    def __init__(self, line: Callable[[Tick], bytes]) -> None:
        self._line = line

    def write(self, tick: Tick) -> bool:
        """Write one line. Return False if the program that reads the standard output has ended."""
        try:
            sys.stdout.buffer.write(self._line(tick) + b"\n")
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            drop_stdout()
            return False
        except OSError as error:
            drop_stdout()
            msg = f"cannot write standard output: {reason_of_output(error)}"
            raise OutputError(msg) from error
        return True

    def close(self) -> None:
        """Do nothing, because standard output stays open."""

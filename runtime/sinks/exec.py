"""Sink that starts a program and writes one JSON document per tick to the program's standard input."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress

import msgspec

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.frame import Tick
from orilla.runtime.sinks.options import NoOptions
from orilla.runtime.sinks.sink import Setup, Sink

NEEDS_TARGET = True
REOPENS = True
Options = NoOptions

END_S = 5.0
"""Number of seconds to wait for the program after its standard input was closed. Then it is terminated."""


class Program(Sink):
    """Writes lines to a program. If the program ends, it is started again."""

    def __init__(self, words: list[str]) -> None:
        self._encoder = msgspec.json.Encoder()
        try:
            self._process = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            msg = f"cannot start {words[0]}: {error.strerror or error}"
            raise OutputError(msg) from error
        assert self._process.stdin is not None
        self._pipe = self._process.stdin

    def write(self, tick: Tick) -> bool:
        """Write one tick as a JSON line."""
        try:
            self._pipe.write(self._encoder.encode(tick.to_dict()) + b"\n")
            self._pipe.flush()
        except OSError as error:
            code = self._process.poll()
            msg = f"the program ended with exit code {code}" if code is not None else "the program closed its input"
            raise OutputError(msg) from error
        return True

    def close(self) -> None:
        """Close the program's standard input, and wait until it ends."""
        with suppress(BrokenPipeError):
            self._pipe.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()


def open_sink(target: str, options: NoOptions, setup: Setup) -> Program:
    """Start the command `target`. It is split into words as in a shell, but is run without a shell."""
    del options, setup
    try:
        words = shlex.split(target)
    except ValueError as error:
        msg = f"sink `exec:{target}`: {str(error).lower()}"
        raise ConfigError(msg) from error
    return Program(words)

"""Redirect the process's standard output and error at the level of file descriptors, which native libraries use too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_LOCK = RLock()


def drop_stdout() -> None:
    """Discard standard output from now on, because its reader is gone or its disk is full.

    Python would still flush it at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def drop_stderr() -> None:
    """Discard standard error from now on, because libraries print messages while they are unloaded."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextmanager
def hidden_stderr() -> Iterator[None]:
    """Discard file descriptor 2 within the block; one thread at a time.

    The whole process is affected, so the block must be short.
    """
    with _LOCK:
        try:
            saved = os.dup(2)
        except OSError:  # a daemon without standard error has nothing to hide
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)

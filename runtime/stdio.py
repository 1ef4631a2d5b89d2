"""The process's own standard output and error, as file descriptors that native libraries write to as well."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

_LOCK = RLock()


def drop_stdout() -> None:
    """Sends standard output nowhere from now on: its reader has gone, or its disk is full, and Python would still
    flush into it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def drop_stderr() -> None:
    """Sends standard error nowhere from now on: libraries talk while they are unloaded, when all has been said."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextmanager
def hidden_stderr() -> Iterator[None]:
    """Sends file descriptor 2 nowhere meanwhile; one thread at a time.

    The whole process is affected, so keep the block short.
    """
    with _LOCK:
        try:
            saved = os.dup(2)
        except OSError:  # a daemon without standard error: nothing to hide
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

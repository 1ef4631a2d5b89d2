"""Redirect standard output and standard error of the process, including the output of native libraries."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import RLock

_LOCK = RLock()


def drop_stdout() -> None:
    """Discard standard output from now on.

    Call this function after a write failed. Otherwise, Python would report another error when it flushes the rest at
    exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def reason_of_output(error: OSError) -> str:
    """Return the reason why standard output cannot be written."""
    if error.errno == errno.EBADF:
        return "it is closed: redirect it to a file or to /dev/null"
    return error.strerror or str(error)


def drop_stderr() -> None:
    """Discard standard error from now on, because its reader has ended or libraries print while they are unloaded."""
    with suppress(OSError):
        sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextmanager
def hidden_stderr() -> Iterator[None]:
    """Discard standard error within the block. Only one thread at a time can be in such a block.

    The output of all threads is discarded, so the block must be short.
    """
    with _LOCK:
        try:
            saved = os.dup(2)
        except OSError:  # A daemon has no standard error.
            yield
            return
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, 2)
        os.close(devnull)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)

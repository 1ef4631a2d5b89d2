"""What native libraries print about themselves, kept off the user's screen."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_stderr() -> Iterator[None]:
    """Sends file descriptor 2 nowhere meanwhile. The whole process is affected, so keep the block short."""
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

"""Collect the messages that a native library prints with C's `stderr`."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from contextlib import suppress
from threading import Condition
from typing import TypeVar

T = TypeVar("T")

UNBUFFERED = 2
"""Mode of a C stream without a buffer. Source: `_IONBF` in glibc's `stdio.h`."""


class NativeMessages:
    """Collects the messages of a native library that prints them with C's `stderr`.

    C's variable `stderr` refers to a file in memory meanwhile. File descriptor 2 is not changed, so messages of Python,
    of C++ and of other processes are not affected. Messages of other libraries are passed on to standard error.

    Args:
        pattern: Pattern of a message of the library.
    """

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern
        self._changed = Condition()
        self._inside, self._waiting, self._alone = 0, 0, False
        self._passed_on = 0
        """Number of bytes in the file that have been examined for messages of other libraries."""
        self._file: int | None = None
        self._stream: int | None = None
        os.register_at_fork(after_in_child=self._reset)

    def of(self, call: Callable[[], T]) -> tuple[T, list[str]]:
        """Call a function, and return its result and the messages that were printed meanwhile.

        A message could come from another thread. If there are messages, the function is therefore called again, while
        no other thread is in this method.
        """
        result, messages = self._collected(call, alone=False)
        return self._collected(call, alone=True) if messages else (result, [])

    def _collected(self, call: Callable[[], T], *, alone: bool) -> tuple[T, list[str]]:
        file = self._enter(alone=alone)
        if file is None:
            return call(), []
        start = os.fstat(file).st_size
        try:
            return call(), self._matching(file, start)
        finally:
            self._leave(file)

    def _matching(self, file: int, start: int) -> list[str]:
        text = os.pread(file, os.fstat(file).st_size - start, start).decode(errors="replace")
        return [line for line in text.splitlines() if self._pattern.match(line)]

    def _enter(self, *, alone: bool) -> int | None:
        """Redirect C's `stderr`, and return the file that it refers to. Return None if this is impossible."""
        with self._changed:
            self._waiting += alone
            self._changed.wait_for(lambda: not self._alone and not (self._inside if alone else self._waiting))
            self._waiting -= alone
            if self._file is None or self._stream is None:
                self._file, self._stream = _memory_stream()
            if self._file is None or self._stream is None:
                self._changed.notify_all()
                return None
            self._alone = alone
            if not self._inside:
                _set_c_stderr(self._stream)
            self._inside += 1
            return self._file

    def _leave(self, file: int) -> None:
        with self._changed:
            end = os.fstat(file).st_size
            if end > self._passed_on:
                lines = os.pread(file, end - self._passed_on, self._passed_on).splitlines(keepends=True)
                others = [line for line in lines if not self._pattern.match(line.decode(errors="replace"))]
                with suppress(OSError):
                    os.write(2, b"".join(others))
            self._passed_on = end
            self._inside -= 1
            self._alone = False
            if not self._inside:
                _set_c_stderr(_C_STDERR)
                os.ftruncate(file, 0)
                self._passed_on = 0
            self._changed.notify_all()

    def _reset(self) -> None:
        """Restore C's `stderr` in a forked process, in which the threads that redirected it do not exist."""
        if self._inside:
            _set_c_stderr(_C_STDERR)
        self._changed = Condition()
        self._inside, self._waiting, self._alone = 0, 0, False
        self._file = self._stream = None


def _libc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc. In other libraries, the variable `stderr` may be constant."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - raises an error if the C library is not glibc
    except (OSError, AttributeError):
        return None
    return library


_LIBC = _libc()
_C_STDERR = ctypes.c_void_p.in_dll(_LIBC, "stderr").value if _LIBC is not None else None


def _set_c_stderr(stream: int | None) -> None:
    if _LIBC is not None:
        ctypes.c_void_p.in_dll(_LIBC, "stderr").value = stream


def _memory_stream() -> tuple[int, int] | tuple[None, None]:
    """Return a file in memory and a C stream that appends to it, or None twice if this is impossible."""
    if _LIBC is None:
        return None, None
    try:
        file = os.memfd_create("messages")
    except OSError:
        return None, None
    open_stream, set_buffer = _LIBC.fdopen, _LIBC.setvbuf
    open_stream.restype, open_stream.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_char_p]
    set_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_size_t]
    stream = open_stream(file, b"a")
    if not stream:
        os.close(file)
        return None, None
    set_buffer(stream, None, UNBUFFERED, 0)
    return file, stream

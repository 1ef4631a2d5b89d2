"""End a command on Ctrl-C and on the signals that stop a service, even if its main thread does not respond."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

GRACE_S = 30.0
"""Time in seconds within which the main thread must react to a signal. It cannot react while it waits for native code,
such as an inference on an accelerator that hangs. After this time, the process ends at once."""

AGAIN_S = 1.0
"""Time in seconds after which a second signal ends the process at once, if the main thread has not reacted to the first
signal."""

_REACTED = 0
"""Byte that signals that the main thread has reacted. It differs from all signal numbers."""

_MESSAGE = b"orilla: ended at once: native code, such as an inference or a driver, did not return\n"


def interrupt_on_signals() -> None:
    """Treat the signals that stop a service like Ctrl-C, so that outputs are closed and no partial file remains."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, signal.default_int_handler)


def end_without_main_thread() -> None:
    """Start a thread that ends the process on a signal to which the main thread does not react.

    Python runs signal handlers in the main thread only, so they do not run while native code blocks this thread. Python
    also writes the number of each signal to a socket at once, and the new thread reads it there.
    """
    reader, writer = socket.socketpair()
    writer.settimeout(0)

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        with suppress(OSError):  # The socket is full if signals arrive faster than the process can handle them.
            writer.send(bytes([_REACTED]))
        signal.default_int_handler(number, frame)

    for number in SIGNALS:
        if signal.getsignal(number) is signal.default_int_handler:
            signal.signal(number, interrupt)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), name="orilla-signals", daemon=True).start()


def _watch(reader: socket.socket) -> None:
    """Read the numbers of the signals, and the bytes that the main thread writes when it reacts."""
    asked_s: float | None = None
    number = 0
    while True:
        now_s = time.monotonic()
        if asked_s is not None and now_s - asked_s >= GRACE_S:
            end_at_once(128 + number, _MESSAGE)
        reader.settimeout(None if asked_s is None else max(asked_s + GRACE_S - now_s, 1e-3))
        try:
            code = reader.recv(1)
        except TimeoutError:
            continue
        if not code:
            return
        if code[0] == _REACTED:
            asked_s = None
        elif code[0] in SIGNALS:
            number = code[0]
            if asked_s is None:
                asked_s = time.monotonic()
            elif time.monotonic() - asked_s >= AGAIN_S:
                end_at_once(128 + number, _MESSAGE)


def end_at_once(code: int, message: bytes = b"") -> NoReturn:
    """End the process without releasing native libraries, because one of them hangs."""
    with suppress(OSError):  # Standard error is closed or full.
        os.write(2, message)
    os._exit(code)

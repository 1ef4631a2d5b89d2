"""Read a live source in a separate thread, so that a hanging source never blocks the loop or its shutdown."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol, runtime_checkable

from orilla.devices.cores import cores_of_thread, keep_to_cores
from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame, Line, Record
from orilla.runtime.sources.reconnect import FIRST_WAIT_S, Reconnecting
from orilla.runtime.sources.source import SLICE_S, Source, now_ns

CLOSE_S = 1.0
"""Number of seconds to wait until a source has been closed, unless it hangs."""

MAX_HANGING = 3
"""Maximum number of threads of one source that may hang in a driver at the same time. Until one of them returns, the
source is not opened again."""

Item = Frame | Line | Record | Event | None
"""Possible results of `Source.read`."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Time limits of a live source."""

    open_s: float = 10.0
    """Time limit for opening the source, in seconds."""
    read_s: float = 5.0
    """Time limit for each frame, in seconds."""
    first_wait_s: float = FIRST_WAIT_S
    """Waiting time in seconds before a lost source is opened again for the first time. Further waiting times are
    longer."""


DEFAULT_LIMITS = TimeLimits()


@runtime_checkable
class Interruptible(Protocol):
    """A source whose `read` can be ended from another thread."""

    def interrupt(self) -> None:
        """Make a `read` that hangs in another thread return or raise an error. This method may hang, too."""


class ReaderThread(threading.Thread):
    """A thread that opens a source, reads one item per request, and closes the source.

    A single thread does all of this, because closing a device while another thread reads from it could crash the
    process. The thread is a daemon: it does not keep the process alive if it hangs.

    Args:
        opener: Function that opens the source.
    """

    def __init__(self, opener: Callable[[], Source]) -> None:
        super().__init__(name="orilla-source", daemon=True)
        self.opened: Source | None = None
        """The source, as soon as it is open."""
        self.answers: SimpleQueue[Item | BaseException] = SimpleQueue()
        """The items that were read, in order, or the error that ended reading. The first item is None and means that
        the source is open."""
        self._opener = opener
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._keeps_open = False
        self._cores: frozenset[int] | None = None

    def ask(self) -> None:
        """Request the next item.

        The reading thread runs on the cores of the first thread that calls this method. The loop has chosen these
        cores.
        """
        if self._cores is None:
            self._cores = cores_of_thread()
        self._asked.put(item=True)

    def leave(self, *, keeps_open: bool = False) -> None:
        """End the thread as soon as it has nothing to read. It closes the source unless `keeps_open` is True."""
        self._keeps_open = keeps_open
        self._asked.put(item=False)

    def run(self) -> None:
        """Open, read and close the source."""
        try:
            self.opened = self._opener()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for the answer
            self.answers.put(error)
            return
        self.answers.put(None)
        placed = False
        while self._asked.get():
            if not placed and self._cores is not None:
                keep_to_cores(self._cores)
                placed = True
            self._read(self.opened)
        if not self._keeps_open:
            with suppress(Exception):
                self.opened.close()

    def _read(self, source: Source) -> None:
        try:
            self.answers.put(source.read())
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits for the answer
            self.answers.put(error)


class TimeLimited:
    """Delivers the frames of another source. A frame that exceeds its time limit is an error.

    `read` never waits longer than `SLICE_S`. If there is no frame by then, it returns an event of the kind `waiting`.

    Args:
        opener: Function that opens the source, or raises `SourceError`. The reading thread calls it.
        name: Name of the source in messages.
        limits: The time limits.
        clock: Monotonic clock in nanoseconds.
    """

    live = True

    def __init__(
        self,
        opener: Callable[[], Source],
        name: str,
        limits: TimeLimits = DEFAULT_LIMITS,
        *,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._name, self._limits, self._clock = name, limits, clock
        self.rate_hz: float | None = None
        self._index = 0
        self._since_ns = clock()
        self._is_open, self._waits = False, True
        self._hangs = False
        self.thread = ReaderThread(opener)
        self.thread.start()
        self._release = weakref.finalize(self, self.thread.leave)

    def wait_until_open(self) -> Source:
        """Wait until the source is open, and return it.

        Raises:
            SourceError: The source cannot be opened, or not within the time limit.
        """
        while not self._is_open:
            self._answer()
        assert self.thread.opened is not None
        return self.thread.opened

    def read(self) -> Item:
        """Return the next frame or an event, or None at the end."""
        if not self._is_open and not self._answer():
            return Event("waiting", self._index, self._clock(), f"{self._name} is being opened")
        if not self._waits:
            self._waits, self._since_ns = True, self._clock()
            self.thread.ask()
        answer = self._answer()
        if not answer:
            return Event("waiting", self._index, self._clock(), f"{self._name} has sent nothing yet")
        item = answer[0]
        if item is not None:
            self._index = item.index + (not isinstance(item, Event) or item.kind == "corrupt")
        return item

    def close(self) -> None:
        """Release the source. If it hangs, its own thread releases it later."""
        source = self.thread.opened
        self._release()
        if not self._hangs:
            self.thread.join(CLOSE_S)
        if self.thread.is_alive() and isinstance(source, Interruptible):
            threading.Thread(target=_interrupt, args=(source,), name="orilla-interrupt", daemon=True).start()

    def leave_open(self) -> None:
        """End the thread without closing the source, because another thread uses it from now on."""
        self._release.detach()
        self.thread.leave(keeps_open=True)
        self.thread.join(CLOSE_S)

    def _answer(self) -> tuple[Item] | None:
        """Wait a moment for the thread's answer, and return it in a tuple. Return None if there is none yet."""
        try:
            answer = self.thread.answers.get(timeout=SLICE_S)
        except Empty:
            limit_s = self._limits.read_s if self._is_open else self._limits.open_s
            if self._clock() - self._since_ns < 1e9 * limit_s:
                return None
            self._hangs = True
            did = "delivered no frame" if self._is_open else "did not open"
            msg = f"{self._name} {did} for {limit_s:g} s"
            raise SourceError(msg) from None
        self._waits = False
        if isinstance(answer, BaseException):
            raise answer
        if not self._is_open:
            assert self.thread.opened is not None
            self._is_open, self.rate_hz = True, self.thread.opened.rate_hz
        return (answer,)


def _interrupt(source: Interruptible) -> None:
    with suppress(Exception):
        source.interrupt()


def open_live(opener: Callable[[], Source], name: str, limits: TimeLimits = DEFAULT_LIMITS) -> Source:
    """Open a source that may hang.

    A live source is reopened when it fails or hangs. A recorded source is returned unchanged.

    Args:
        opener: Function that opens the source, or raises `SourceError`.
        name: Name of the source in messages.
        limits: The time limits.

    Raises:
        SourceError: The source cannot be opened, or not within the time limit.
    """
    threads: list[ReaderThread] = []

    def start() -> TimeLimited:
        threads[:] = [thread for thread in threads if thread.is_alive()]
        if len(threads) >= MAX_HANGING:
            msg = f"{name} hangs in its driver"
            raise SourceError(msg)
        source = TimeLimited(opener, name, limits)
        threads.append(source.thread)
        return source

    first = start()
    try:
        opened = first.wait_until_open()
    except BaseException:
        first.close()
        raise
    if not opened.live:
        first.leave_open()
        return opened
    waiting = [first]
    return Reconnecting(lambda: waiting.pop() if waiting else start(), name, first_wait_s=limits.first_wait_s)

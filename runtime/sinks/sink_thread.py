"""Run a sink in its own thread, so that a slow, blocked or failed sink never delays inference."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from orilla.devices.errors import OrillaError
from orilla.devices.names import without_secrets
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.registry import SinkOpener
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sources.source import SLICE_S, now_ns

DEPTH = 4
"""Maximum number of ticks that wait for a sink."""

EVENTS = 64
"""Maximum number of events that wait for a sink whose queue is full. If there are more, the oldest are discarded."""

STALL_S = 10.0
"""Time in seconds for which the loop of a recorded source waits for a sink that accepts no ticks. After that, ticks are
dropped."""

QUIET_S = 1.0
"""If no tick was dropped for this time in seconds, the sink is reported to accept ticks again. An occasionally slow
sink is therefore reported once, and not for every tick."""

CLOSE_S = 10.0
"""Time in seconds within which a sink must write the queued ticks and close its output at the end of the loop."""

FIRST_WAIT_S, MAX_WAIT_S = 0.25, 30.0
"""First and longest waiting time in seconds between two attempts to reopen a sink. The time doubles after each
failure."""

Report = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """Numbers of ticks that a sink has written and dropped."""

    written: int
    dropped: int
    failed: str | None = None
    """Reason why the sink ended before the loop. None if it did not."""


class SinkThread:
    """Passes ticks to a sink through a bounded queue.

    If the queue is full, ticks of a live source are dropped and counted, but the loop of a recorded source waits. An
    event of the kind `sink` reports the first dropped tick. Another one reports the number of dropped ticks when the
    sink has accepted all ticks for `QUIET_S` seconds.

    Args:
        opener: Opener of the sink.
        setup: Description of the loop.
        report: Function that receives events. The thread of the sink or the thread of the loop calls it.
        alone: True if the loop has no other sink. If such a sink fails, no event reports it, because the loop ends with
            an error.

    Raises:
        ConfigError: The target cannot be used.
        OutputError: The sink cannot be opened.
    """

    def __init__(self, opener: SinkOpener, setup: Setup, report: Report, *, alone: bool = False) -> None:
        self.name = without_secrets(opener.spec)
        self.source = opener.source
        """Name of the source whose ticks the sink receives. If None, it receives the ticks of all sources."""
        self._opener, self._report, self._alone = opener, report, alone
        self._closing, self._abandoned = threading.Event(), False
        self._setup = replace(
            setup, report=lambda detail: self._tell(f"sink {self.name}: {detail}"), closing=self._closing
        )
        self._queue: queue.Queue[Tick | Event | None] = queue.Queue(DEPTH)
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._written = self._dropped = self._reported = self._index = 0
        self._dropped_s = 0.0
        self._failed: str | None = None
        self._ends_loop = False
        self._sink: Sink | None = opener.open(self._setup)
        self._thread = threading.Thread(target=self._run, name=f"orilla-sink-{opener.spec[:40]}", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> SinkCounts:
        """Return the numbers of ticks written and dropped so far."""
        return SinkCounts(self._written, self._dropped, self._failed)

    @property
    def failed(self) -> bool:
        """Return True if the sink failed and will not be opened again."""
        return self._failed is not None

    def write(self, tick: Tick) -> bool:
        """Queue one tick. Return False if the sink asks to end the loop."""
        self._index = tick.index
        if self._failed is None and not self._put(tick, 0.0 if self._setup.live else STALL_S):
            self._dropped += 1
            self._dropped_s = time.monotonic()
            # While the sink is being reopened, the event that reported its failure already states that ticks are lost.
            if self._dropped - self._reported == 1 and self._sink is not None:
                self._tell(f"sink {self.name} is too slow: its ticks are dropped until it accepts new ones")
        elif (
            self._dropped > self._reported and self._sink is not None and time.monotonic() - self._dropped_s >= QUIET_S
        ):
            self._tell(f"sink {self.name} accepts ticks again; {self._dropped - self._reported} were dropped")
            self._reported = self._dropped
        return not self._ends_loop

    def event(self, event: Event) -> None:
        """Queue an event of the loop. If the queue is full, the sink receives the event before the queued ticks."""
        if self._failed is None and not self._put(event, 0.0):
            self._events.append(event)

    def close(self) -> SinkCounts:
        """Wait until the queued ticks are written and the output is closed, but at most `CLOSE_S` seconds."""
        self._closing.set()
        if self._put(None, CLOSE_S):
            self._thread.join(CLOSE_S)
        else:  # The queue is full. The thread ends after the queued items, if the sink ever accepts them.
            self._abandoned = True
            self._put(None, 0.0)
        if self._thread.is_alive():
            self._failed = self._failed or f"it did not finish within {CLOSE_S:g} s"
            self._tell(f"sink {self.name}: {self._failed}")
        return self.counts

    def _put(self, item: Tick | Event | None, wait_s: float) -> bool:
        """Queue an item. Return False if the queue remained full for `wait_s` seconds and the sink is still open."""
        deadline = time.monotonic() + wait_s
        while True:
            left_s = deadline - time.monotonic()
            try:
                self._queue.put(item, block=left_s > 0, timeout=min(SLICE_S, max(left_s, 1e-3)))
            except queue.Full:
                if not self._thread.is_alive():
                    return True
                if left_s <= 0:
                    return False
            else:
                return True

    def _run(self) -> None:
        """Pass the queued items to the sink until it ends."""
        while (item := self._next()) is not None:
            if not self._pass(item):
                return
            while self._events:
                if not self._pass(self._events.popleft()):
                    return
        self._close()

    def _next(self) -> Tick | Event | None:
        """Wait for the next queued item. Return None if the sink should be closed."""
        if not self._abandoned:
            return self._queue.get()
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def _pass(self, item: Tick | Event) -> bool:
        """Pass one item to the sink. Return False if the sink has ended."""
        assert self._sink is not None
        try:
            if isinstance(item, Event):
                self._sink.event(item)
            else:
                self._ends_loop = not self._sink.write(item)
                self._written += 1
        except BaseException as error:  # noqa: BLE001 - the code of a plug-in may raise anything, even `SystemExit`
            if isinstance(item, Tick):
                self._dropped += 1
                self._reported += 1
            return self._recover(_reason(error))
        return True

    def _recover(self, reason: str) -> bool:
        """Close the failed sink, and reopen it if it has `REOPENS`. Return False if the sink has ended."""
        sink, self._sink = self._sink, None
        assert sink is not None
        try:
            sink.close()
        except BaseException as error:  # noqa: BLE001 - see `_pass`
            del error  # Ignore errors at closing: the first error is the cause.
        if not self._opener.reopens:
            self._failed = reason
            if not self._alone:
                self._tell(f"sink {self.name} ended: {reason}; the loop continues without it")
            return False
        self._tell(f"sink {self.name} failed: {reason}; retrying")
        wait_s = FIRST_WAIT_S
        while not self._closing.wait(wait_s):
            try:
                sink = self._opener.open(self._setup)
            except BaseException:  # noqa: BLE001 - see `_pass`
                wait_s = min(2 * wait_s, MAX_WAIT_S)
            else:
                lost = self._dropped - self._reported
                self._reported += lost
                self._tell(f"sink {self.name} was reopened" + (f"; {1 + lost} ticks were dropped" if lost else ""))
                self._sink = sink
                return True
        self._failed = reason
        return False

    def _close(self) -> None:
        assert self._sink is not None
        try:
            self._sink.close()
        except BaseException as error:  # noqa: BLE001 - see `_pass`
            self._failed = _reason(error)
            self._tell(f"sink {self.name} failed while closing: {self._failed}")

    def _tell(self, detail: str) -> None:
        self._report(Event("sink", self._index, now_ns(), detail))


def _reason(error: BaseException) -> str:
    """Return the reason for a failure as one line. The type of an unexpected error is included."""
    text = " ".join(str(error).split())[:300]
    return text if text and isinstance(error, OrillaError) else f"{type(error).__name__}: {text}"

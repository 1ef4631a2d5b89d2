"""A running loop in the caller's hands: a `for`, an `async for`, or a function that is called with each answer."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType

from orilla.runtime.frame import Tick
from orilla.runtime.pipeline import Loop
from orilla.runtime.recording import Recording
from orilla.runtime.stats import Figures, LoopStats


class Stream:
    """Answers one after the other, to one caller. The loop starts with the first that is asked for, and ends with the
    last, with `close`, with the `with` block, or when nobody holds the stream any more.
    """

    def __init__(self, loop: Loop, recording: Recording | None = None) -> None:
        self._loop = loop
        self._started = self._ended = False
        self._last: Tick | None = None
        self._stats = LoopStats()
        # The threads hold the loop, not this object: a caller who leaves a `for` early lets go of it.
        self._finalizer = weakref.finalize(self, _end, loop, recording)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Tick:
        tick = self._next()
        if tick is None:
            raise StopIteration
        return tick

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Tick:
        import asyncio

        tick = await asyncio.to_thread(self._next)
        if tick is None:
            raise StopAsyncIteration
        return tick

    def stats(self, *, recent: bool = True) -> Figures:
        """Figures up to now: percentiles of the last minute, or of the whole run; may be asked from any thread."""
        self._stats.drops = self._loop.drops
        return self._stats.figures(time.monotonic_ns(), recent=recent)

    def note(self, name: str, value_ms: float) -> None:
        """Adds a time of your own to the figures, under a name of your own."""
        self._stats.add(name, value_ms, time.monotonic_ns())

    def close(self) -> None:
        """Ends the loop and closes its source."""
        self._ended = True
        self._finalizer()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Tick | None:
        if self._last is not None:
            self._stats.done(self._last, time.monotonic_ns())
            self._last = None  # its picture may be used again
        if self._ended:
            return None
        if not self._started:
            self._started = True
            self._loop.start()
        try:
            tick = self._loop.next()
        except BaseException:
            self.close()
            raise
        if tick is None:
            self.close()
            return None
        self._stats.delivered(tick)
        self._last = tick
        return tick


def _end(loop: Loop, recording: Recording | None) -> None:
    try:
        loop.stop()
    finally:
        if recording is not None:
            recording.close()


class Watch:
    """Calls a function with each answer, in a thread of its own, until it is stopped or the source ends."""

    def __init__(self, stream: Stream, on_tick: Callable[[Tick], object]) -> None:
        self._stream, self._on_tick = stream, on_tick
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="orilla-watch", daemon=True)

    def start(self) -> Watch:
        """Starts the thread."""
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Whether answers may still come."""
        return self._thread.is_alive()

    def stats(self, *, recent: bool = True) -> Figures:
        """See `Stream.stats`."""
        return self._stream.stats(recent=recent)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits for the end; False where it has not come in time.

        Raises:
            whatever the source, the model or the function raised.
        """
        self._thread.join(timeout_s)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ends the loop after the answer that is being worked on; raises what `wait` raises."""
        self._stream.close()
        if threading.current_thread() is not self._thread:
            self.wait()

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _work(self) -> None:
        try:
            for tick in self._stream:
                self._on_tick(tick)
        except BaseException as error:  # noqa: BLE001 - raised again by `wait`
            self._error = error
        finally:
            self._stream.close()

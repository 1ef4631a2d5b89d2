"""A running loop in the caller's hands: a `for`, an `async for`, or a function that is called with each answer."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from orilla.runtime.frame import Tick
from orilla.runtime.loop.loop import PATIENCE_S, CameraLoop
from orilla.runtime.loop.recording import Recording
from orilla.runtime.loop.stats import Figures, LoopStats

INTERRUPTS = 5
"""So often may one be interrupted while a loop ends."""


class Stream:
    """Answers one after the other, to one caller. The loop starts with the first that is asked for, and ends with the
    last, with `close`, with the `with` block, or when nobody holds the stream any more.
    """

    def __init__(self, loop: CameraLoop, recording: Recording | None = None) -> None:
        self._loop = loop
        self._started = self._ended = False
        self._last: Tick | None = None
        self._stats = LoopStats()
        # The threads hold the loop, not this object: a caller who leaves a `for` early lets go of it.
        self._done = threading.Event()
        self._finalizer = weakref.finalize(self, _end, loop, recording, self._done)

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

        self._begin_next()
        events, ready = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the event loop may have ended meanwhile
                events.call_soon_threadsafe(ready.set)

        self._loop.listen(wake)
        try:
            while True:
                ready.clear()
                tick, over = (None, True) if self._ended else self._loop.poll()
                if tick is not None:
                    return self._hand_over(tick)
                if over:
                    await self.aclose()
                    raise StopAsyncIteration
                await ready.wait()  # who cancels here leaves the answer where it is
        except Exception as error:
            if not isinstance(error, StopAsyncIteration):
                await self.aclose()
            raise
        finally:
            self._loop.listen(None)

    def stats(self, *, recent: bool = True) -> Figures:
        """Figures up to now: percentiles of the last minute, or of the whole run; may be asked from any thread."""
        self._stats.drops = self._loop.drops
        return self._stats.figures(time.monotonic_ns(), recent=recent)

    def note(self, name: str, value_ms: float) -> None:
        """Adds a time of your own to the figures, under a name of your own."""
        self._stats.add(name, value_ms, time.monotonic_ns())

    def close(self) -> None:
        """Ends the loop and closes its source; returns when that is done, whoever began it."""
        self._end_last()
        self._ended = True
        self._finalizer()
        if not threading.current_thread().name.startswith("orilla-"):
            self._done.wait(2 * PATIENCE_S)

    async def aclose(self) -> None:
        """`close`, while the event loop goes on; `async with` does it."""
        import asyncio

        await asyncio.to_thread(self.close)

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Tick | None:
        self._begin_next()
        if self._ended:
            return None
        try:
            tick = self._loop.next()
        except BaseException:
            self.close()
            raise
        if tick is None:
            self.close()
            return None
        return self._hand_over(tick)

    def _begin_next(self) -> None:
        """The caller is done with the last answer; before the first, the loop starts."""
        self._end_last()
        if not self._started and not self._ended:
            self._started = True
            self._loop.start()

    def _hand_over(self, tick: Tick) -> Tick:
        self._stats.delivered(tick)
        self._last = tick
        return tick

    def _end_last(self) -> None:
        last, self._last = self._last, None  # its picture may be used again
        if last is not None:
            self._stats.done(last, time.monotonic_ns())


def _end(loop: CameraLoop, recording: Recording | None, done: threading.Event) -> None:
    """Stops the loop, also where Ctrl-C comes twice: threads that run on while Python ends would crash the process."""
    interrupted: KeyboardInterrupt | None = None
    try:
        for _ in range(INTERRUPTS):
            try:
                loop.stop()
                break
            except KeyboardInterrupt as error:
                interrupted = error
    finally:
        try:
            if recording is not None:
                recording.close()
        finally:
            done.set()
    if interrupted is not None:
        raise interrupted


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

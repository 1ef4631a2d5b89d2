"""Ways to receive the answers of a running loop: an iterator, an asynchronous iterator, and a callback in a thread."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import msgspec

from orilla.runtime.frame import Tick
from orilla.runtime.loop.loop import JOIN_TIMEOUT_S, CameraLoop
from orilla.runtime.loop.recording import Recording
from orilla.runtime.loop.stats import Figures, LoopStats
from orilla.runtime.sources.source import Source

INTERRUPTS = 5
"""Number of interrupts (Ctrl-C) that are ignored while a loop ends."""


class Stream:
    """Iterator over the answers of one loop, for one caller.

    The loop starts when the first answer is requested. It ends after the last answer, at `close`, at the end of the
    `with` block, or when the last reference to the stream is gone.

    Args:
        loop: The loop, which has not been started.
        recording: Recording of the loop. The stream closes it at the end. If None, nothing is recorded.
        source: The source as the user opened it. If None, this is the source of the loop.
        name: Name of the source if there are several sources. None if there is only one.
    """

    def __init__(
        self,
        loop: CameraLoop,
        recording: Recording | None = None,
        *,
        source: Source | None = None,
        name: str | None = None,
    ) -> None:
        opened = loop.source if source is None else source
        self.live = opened.live
        """True for a live source (a camera), False for a recorded source, even if it plays at its own rate."""
        self.rate_hz = opened.rate_hz
        """Frame rate of a recorded source in frames per second. None if the source has no frame rate."""
        self._loop, self._name = loop, name
        self._started = self._ended = False
        self._last: Tick | None = None
        self._stats = LoopStats()
        # The threads refer to the loop, not to this object. The stream is therefore released when a caller leaves a
        # `for` loop early.
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
            with suppress(RuntimeError):  # The event loop has ended.
                events.call_soon_threadsafe(ready.set)

        self._loop.listen(wake)
        try:
            while True:
                ready.clear()
                tick, over = (None, True) if self._ended else self._loop.poll()
                if tick is not None:
                    return self._delivered(tick)
                if over:
                    await self.aclose()
                    raise StopAsyncIteration
                await ready.wait()  # If this wait is cancelled, no answer is lost, because only `poll` takes answers.
        except Exception as error:
            if not isinstance(error, StopAsyncIteration):
                await self.aclose()
            raise
        finally:
            self._loop.listen(None)

    def take(self) -> tuple[Tick | None, bool]:
        """Return the next answer, or None if no answer is ready, and whether the stream has ended.

        This method never waits. The first call starts the loop.

        Raises:
            SourceError: The source failed. All answers to earlier frames have been returned.
        """
        self._begin_next()
        if self._ended:
            return None, True
        tick, over = self._loop.poll()
        if over:
            self.close()
        return (None if tick is None else self._delivered(tick)), over

    def release(self) -> None:
        """Record that the caller is done with the last answer. A request for the next answer has the same effect."""
        self._end_last()
        self._loop.release()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in another thread, whenever `take` may return something new.

        None stops the calls.
        """
        self._loop.listen(listener)

    def stats(self, *, recent: bool = True) -> Figures:
        """Return the statistics of the last minute, or of the whole run so far. Any thread may call this method."""
        self._stats.drops, self._stats.workers = self._loop.drops, self._loop.workers
        return self._stats.figures(time.monotonic_ns(), recent=recent)

    def note(self, name: str, value_ms: float) -> None:
        """Add a time that you measured to the statistics, under a name that you choose."""
        self._stats.add(name, value_ms, time.monotonic_ns())

    def trigger(self, name: str = "trigger") -> None:
        """Report an event of the kind `trigger`. A sink `clip` that receives the events then keeps a clip.

        Args:
            name: One line that says what happened.
        """
        self._loop.report("trigger", name)

    def close(self) -> None:
        """End the loop and close its source.

        Wait until both are done, even if another thread called this method first.
        """
        self._end_last()
        self._ended = True
        self._finalizer()
        if not threading.current_thread().name.startswith("orilla-"):
            self._done.wait(2 * JOIN_TIMEOUT_S)

    async def aclose(self) -> None:
        """Run `close` without blocking the event loop. `async with` calls this method at its end."""
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
        return self._delivered(tick)

    def _begin_next(self) -> None:
        """Record that the caller is done with the last answer. Before the first answer, start the loop."""
        self._end_last()
        if not self._started and not self._ended:
            self._started = True
            self._loop.start()

    def _delivered(self, tick: Tick) -> Tick:
        if self._name is not None:
            tick = msgspec.structs.replace(tick, source=self._name)
        self._stats.delivered(tick)
        self._last = tick
        return tick

    def _end_last(self) -> None:
        last, self._last = self._last, None  # From here on, the buffer of the image may be reused.
        if last is not None:
            self._stats.done(last, time.monotonic_ns())


def _end(loop: CameraLoop, recording: Recording | None, done: threading.Event) -> None:
    """Stop the loop, even if Ctrl-C is pressed again.

    Threads that still run while Python exits could crash the process.
    """
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


class Watcher:
    """Calls a function with each answer, in a separate thread, until `stop` is called or the source ends."""

    def __init__(self, stream: Stream, on_tick: Callable[[Tick], object]) -> None:
        self._stream, self._on_tick = stream, on_tick
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="orilla-watch", daemon=True)

    def start(self) -> Watcher:
        """Start the thread."""
        self._thread.start()
        return self

    @property
    def running(self) -> bool:
        """Return True if further answers may come."""
        return self._thread.is_alive()

    def stats(self, *, recent: bool = True) -> Figures:
        """Return the statistics. See `Stream.stats`."""
        return self._stream.stats(recent=recent)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the thread. Return False if it still runs after `timeout_s`.

        If an error of the source, the model or the function ended the thread, raise it here.
        """
        self._thread.join(timeout_s)
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End the loop after the current answer. Raise the same errors as `wait`."""
        self._stream.close()
        if threading.current_thread() is not self._thread:
            self.wait()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            for tick in self._stream:
                self._on_tick(tick)
        except BaseException as error:
            self._error = error
            import logging

            # Report the error now, because the program may call `wait` late or never.
            logging.getLogger("orilla").exception("the function that watches the stream has ended")
        finally:
            self._stream.close()

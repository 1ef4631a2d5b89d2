"""The camera loop: capture, inference and the caller's work overlap, each in its own thread.

Capture with preparation and inference have threads of their own. The caller takes answers in its thread. The native
calls in which they spend their time release the GIL. `scheduler.FrameScheduler` decides which frames wait, are answered
or are dropped. This module contains the threads and the waiting.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from orilla.devices.cores import keep_to_core
from orilla.devices.errors import ConfigError, DataError, SourceError
from orilla.runtime.frame import Event, Frame, Line, Result, Tick
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.scheduler import FrameScheduler, Reason, Verb
from orilla.runtime.loop.stages import Stages, StageTimer
from orilla.runtime.sources.source import Source

PATIENCE_S = 5.0
"""Time that the end of a loop waits for a thread that hangs in a driver, seconds."""


class Recorder(Protocol):
    """Receives the events of the loop, in order. The loop calls each method with its lock held."""

    def step(self, verb: Verb, at_ns: int, index: int, time_ns: int) -> None: ...
    def dropped(self, at_ns: int, index: int, reason: Reason) -> None: ...
    def event(self, event: Event) -> None: ...
    def taken(self, frame: Frame | Line, stages_ms: dict[str, float]) -> None: ...
    def answered(self, frame: Frame | Line, stages_ms: dict[str, float], result: Result) -> None: ...


class _Item(msgspec.Struct):
    frame: Frame | Line
    input: Any
    timer: StageTimer
    result: Result | None = None

    @property
    def index(self) -> int:
        return self.frame.index

    @property
    def captured_ns(self) -> int:
        return self.frame.captured_ns


class CameraLoop:
    """One run over one source. The loop closes the source at its end."""

    _counting, _running = threading.Lock(), 0
    """Number of loops of this process, with its lock. Only a single loop has the cores to itself."""

    def __init__(
        self,
        source: Source,
        stages: Stages,
        policy: Policy,
        *,
        on_event: Callable[[Event], None] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        if policy.name == "rate" and not source.live and not source.rate_hz:
            msg = f"policy {policy}: this source has no frame rate; use every"
            raise ConfigError(msg)
        self.source, self._stages = source, stages
        self._on_event, self._recorder = on_event, recorder
        self._traffic: FrameScheduler[_Item] = FrameScheduler(
            policy,
            live=source.live,
            journal=recorder.step if recorder else None,
            dropped=recorder.dropped if recorder else None,
        )
        self._lock = threading.Lock()
        self._may_arrive, self._may_begin, self._may_answer, self._may_deliver = (
            threading.Condition(self._lock) for _ in range(4)
        )
        self._alone = False
        self._stopped = self._all_taken = self._all_answered = False
        self._error: BaseException | None = None
        self._in_hand: int | None = None
        self._inferring = 0
        self._listener: Callable[[], None] | None = None
        self._size: tuple[int, ...] | None = None
        self._good, self._last_corrupt = 0, ""
        self._threads = [
            threading.Thread(target=self._guard, args=(self._capture,), name="orilla-capture", daemon=True),
            threading.Thread(target=self._guard, args=(self._infer,), name="orilla-infer", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        with CameraLoop._counting:
            self._alone = CameraLoop._running == 0
            CameraLoop._running += 1
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads and close the source. A second call does nothing."""
        with self._lock:
            self._stopped = True
            self._wake()
        if self._threads[0].ident is None:
            self.source.close()
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(PATIENCE_S)

    def next(self) -> Tick | None:
        """Wait for the next answer and return it, or None at the end.

        Raises:
            SourceError: The source failed. Every frame before the failure was answered.
        """
        with self._lock:
            while (tick := self._deliver()) is None and not self._over():
                self._may_deliver.wait()
            return tick

    def poll(self) -> tuple[Tick | None, bool]:
        """Return the next answer, if there is one, and True at the end. Never wait. Raises the errors of `next`."""
        with self._lock:
            tick = self._deliver()
            return tick, tick is None and self._over()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in another thread, whenever `poll` may have something new. None stops the calls."""
        with self._lock:
            self._listener = listener

    def _deliver(self) -> Tick | None:
        now_ns = time.monotonic_ns()
        if self._in_hand is not None:
            self._traffic.done(self._in_hand, now_ns)
            self._in_hand = None
        if self._stopped or (item := self._traffic.deliver(now_ns)) is None:
            return None
        self._in_hand = item.index
        self._may_answer.notify()
        assert item.result is not None
        return Tick(item.frame, item.result, item.timer.stages_ms, time.monotonic_ns(), dict(self._traffic.drops))

    def _over(self) -> bool:
        """Return True if no answer will follow. Raises the error that ended the loop."""
        if not self._stopped and self._all_answered and self._error is not None:
            raise self._error
        return self._stopped or self._all_answered

    @property
    def drops(self) -> dict[str, int]:
        """Return the number of dropped frames so far, by reason."""
        with self._lock:
            return dict(self._traffic.drops)

    def _capture(self) -> None:
        if self._alone:
            keep_to_core(0)
        while self._may_read():
            timer = StageTimer()
            found = self.source.read()
            if found is None:
                break
            if isinstance(found, Event):
                self._tell(found)
                continue
            if not isinstance(found, Frame | Line):
                msg = f"{type(self.source).__name__}.read() returned a {type(found).__name__}; it must return a Frame"
                raise SourceError(msg)
            if not self._admit(found):
                continue
            timer.lap("capture")
            try:
                prepared = self._stages.prepare(found.raw)
            except DataError as error:
                self._tell(Event("corrupt", found.index, time.monotonic_ns(), str(error)))
                continue
            timer.lap("prepare")
            self._follow_size(found)
            self._arrive(_Item(found, prepared, timer))
            del found, prepared  # otherwise their buffers would be held until the next frame is read
        if not self._good and self._last_corrupt:
            msg = f"no frame could be used: {self._last_corrupt}"
            raise SourceError(msg)

    def _admit(self, frame: Frame | Line) -> bool:
        time_ns = frame.captured_ns
        if not self.source.live and self.source.rate_hz:
            time_ns = int(1e9 * frame.index / self.source.rate_hz)
        with self._lock:
            return self._traffic.admit(frame.index, time_ns, time.monotonic_ns())

    def _may_read(self) -> bool:
        """Wait until there is room for the next frame, because an early read only uses memory.

        Return False if the loop ends.
        """
        with self._lock:
            while not self._traffic.room and not self._stopped:
                self._may_arrive.wait()
            return not self._stopped

    def _arrive(self, item: _Item) -> None:
        self._good += 1
        with self._lock:
            if self._recorder is not None:
                self._recorder.taken(item.frame, item.timer.stages_ms)
            self._traffic.arrive(item, time.monotonic_ns())
            self._may_begin.notify()

    def _infer(self) -> None:
        if self._alone:
            keep_to_core(1)
        while (item := self._begin()) is not None:
            self._inferring = item.index
            item.timer.restart()
            item.result = self._stages.answer(item.input, item.frame.raw, item.timer)
            item.input = None
            self._answer(item)
            del item

    def _begin(self) -> _Item | None:
        with self._lock:
            while True:
                if self._stopped:
                    return None
                if not self._traffic.answer_room:
                    self._may_answer.wait()
                    continue
                now_ns = time.monotonic_ns()
                if not self._all_taken and (hold_ns := self._traffic.hold_ns(now_ns)):
                    self._may_begin.wait(hold_ns / 1e9)
                    continue
                item = self._traffic.begin(now_ns)
                self._may_arrive.notify()
                if item is not None:
                    return item
                if self._all_taken:
                    return None
                self._may_begin.wait()

    def _answer(self, item: _Item) -> None:
        assert item.result is not None
        with self._lock:
            if self._recorder is not None:
                self._recorder.answered(item.frame, item.timer.stages_ms, item.result)
            self._traffic.answer(item, time.monotonic_ns())
            self._may_deliver.notify()
            if self._listener is not None:
                self._listener()

    def engine_event(self, detail: str) -> None:
        """Report an event of an accelerator, in the inference thread."""
        self._tell(Event("engine", self._inferring, time.monotonic_ns(), detail))

    def _tell(self, event: Event) -> None:
        """Count and report an event of the source."""
        if event.kind == "waiting":
            return
        with self._lock:
            if event.kind == "corrupt":
                self._last_corrupt = event.detail
                self._traffic.corrupt(event.index, event.at_ns)
            if self._recorder is not None:
                self._recorder.event(event)
        if self._on_event is None:
            import logging

            logging.getLogger("orilla").warning("%s", event.detail)
        else:
            self._on_event(event)

    def _follow_size(self, frame: Frame | Line) -> None:
        """Report a change of a live source's frame size."""
        if not isinstance(frame, Frame) or not self.source.live:
            return
        if self._size is not None and self._size != frame.image.shape:
            old, new = (f"{shape[1]}x{shape[0]}" for shape in (self._size, frame.image.shape))
            self._tell(Event("size", frame.index, time.monotonic_ns(), f"frames are now {new}, before {old}"))
        self._size = frame.image.shape

    def _guard(self, work: Callable[[], None]) -> None:
        """Run the work of a thread. An error travels down the loop, behind the frames that came before it."""
        capturing = threading.current_thread() is self._threads[0]
        try:
            try:
                work()
            finally:
                if capturing:
                    # The reading thread closes the source. Closing a device under a hanging read would crash the
                    # process.
                    self.source.close()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = self._error or error
        if capturing:
            with CameraLoop._counting:
                CameraLoop._running -= 1
        with self._lock:
            self._all_taken |= capturing
            self._all_answered |= not capturing
            self._wake()

    def _wake(self) -> None:
        for condition in (self._may_arrive, self._may_begin, self._may_answer, self._may_deliver):
            condition.notify_all()
        if self._listener is not None:
            self._listener()

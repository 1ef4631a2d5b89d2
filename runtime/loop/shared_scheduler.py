"""A scheduler that the threads of a running loop share. It adds locking and waiting to `FrameScheduler`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from orilla.runtime.frame import QUEUE_DEPTH, Event, Frame, Line, Record, Result, Tick
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.scheduler import FrameScheduler, Reason, Verb
from orilla.runtime.loop.stages import StageTimer

SIGNAL_S = 0.5
"""Longest single wait for an answer, in seconds. A signal that arrives just before the main thread begins to wait is
handled only when the wait ends."""


class Recorder(Protocol):
    """Receives everything that happens in the loop, in order. The loop calls each method with its lock held."""

    def step(self, verb: Verb, at_ns: int, index: int, time_ns: int) -> None:
        """Record one step of the scheduler."""

    def dropped(self, at_ns: int, index: int, reason: Reason) -> None:
        """Record a dropped frame."""

    def event(self, event: Event) -> None:
        """Record an event of the source or of an accelerator."""

    def prepared(self, frame: Frame | Line | Record, stages_ms: dict[str, float]) -> None:
        """Record a frame and the times of its stages so far."""

    def answered(self, frame: Frame | Line | Record, stages_ms: dict[str, float], result: Result) -> None:
        """Record the result of a frame."""


class LoopItem(msgspec.Struct):
    """A frame in the loop, with its input, times and result."""

    frame: Frame | Line | Record
    input: Any
    """The network's input, which `Stages.prepare` returned."""
    timer: StageTimer
    result: Result | None = None
    invalid: str = ""
    """Reason why the outputs of the model are invalid. Empty if they are valid."""
    turn: int = 0
    """Number of frames whose inference began before that of this frame."""
    doubts: tuple[str, ...] = ()
    """Names of the guard's checks that the frame fails."""

    @property
    def index(self) -> int:
        """Return the index of the frame."""
        return self.frame.index

    @property
    def captured_ns(self) -> int:
        """Return the capture time of the frame on the monotonic clock, in nanoseconds."""
        return self.frame.captured_ns


class SharedScheduler:
    """The scheduler of one loop, which lets its threads wait for each other.

    The capture thread calls `wait_for_room`, `admit` and `arrive`. The inference threads, of which there may be
    several, call `begin`, and `answer` in the order of `LoopItem.turn`. The caller's thread calls `next` or `poll`.
    """

    def __init__(self, policy: Policy, *, live: bool, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._scheduler: FrameScheduler[LoopItem] = FrameScheduler(
            policy,
            live=live,
            on_step=recorder.step if recorder else None,
            on_drop=recorder.dropped if recorder else None,
        )
        self._lock = threading.Lock()
        self._may_arrive, self._may_begin, self._may_answer, self._may_deliver = (
            threading.Condition(self._lock) for _ in range(4)
        )
        self._stopped = self._capture_ended = self._inference_failed = False
        self._workers = 1
        """Number of inference threads that have not ended."""
        self._is_shared = self._is_capturing = False
        """Two flags: True if the inference threads read the source in turn, and True while one of them reads it."""
        self._turns = self._inferring = 0
        self.backlog = 0
        """Number of consecutive inferences that found the queue full and did not wait for the caller. It is large if
        inference is the slowest stage."""
        self._error: BaseException | None = None
        self._delivered: int | None = None
        """Index of the frame whose answer the caller is working on, or None."""
        self._listener: Callable[[], None] | None = None

    @property
    def drops(self) -> dict[str, int]:
        """Return the number of dropped frames so far for each reason."""
        with self._lock:
            return dict(self._scheduler.drops)

    def wait_for_room(self) -> bool:
        """Wait until there is room for the next frame. Reading a frame earlier would only use memory.

        Return False if the loop was stopped or the source has ended.
        """
        with self._lock:
            while not self._scheduler.room and not self._stopped:
                self._may_arrive.wait()
            return not self._stopped and not self._capture_ended

    def admit(self, index: int, time_ns: int) -> bool:
        """Return True if a frame should be prepared. See `FrameScheduler.admit`."""
        with self._lock:
            return self._scheduler.admit(index, time_ns, time.monotonic_ns())

    def arrive(self, item: LoopItem) -> None:
        """Queue a frame that is ready for inference."""
        with self._lock:
            if self._recorder is not None:
                self._recorder.prepared(item.frame, item.timer.stages_ms)
            self._scheduler.arrive(item, time.monotonic_ns())
            self._may_begin.notify()

    def begin(self) -> LoopItem | Literal["capture"] | None:
        """Wait for the next frame whose inference should start, and return it. Return None if the loop has ended.

        If the inference threads read the source in turn and no frame waits, return `capture`. The thread then captures
        one frame, and calls `end_turn`.
        """
        with self._lock:
            is_full = not self._scheduler.room
            while not self._stopped and not self._inference_failed:
                if not self._has_answer_room():
                    is_full = False
                    self._may_answer.wait()
                    continue
                now_ns = time.monotonic_ns()
                if not self._capture_ended and (hold_ns := self._scheduler.hold_ns(now_ns)):
                    self._may_begin.wait(hold_ns / 1e9)
                    continue
                item = self._scheduler.begin(now_ns)
                self._may_arrive.notify()
                if item is not None:
                    self.backlog = self.backlog + 1 if is_full else 0
                    item.turn, self._turns = self._turns, self._turns + 1
                    self._inferring += 1
                if item is not None or self._capture_ended:
                    return item
                if self._is_shared and not self._is_capturing:
                    self._is_capturing = True
                    return "capture"
                self._may_begin.wait()
            return None

    def end_turn(self) -> None:
        """Record that an inference thread has captured a frame, so that another one may capture the next."""
        with self._lock:
            self._is_capturing = False
            self._may_begin.notify()
            self._may_arrive.notify_all()

    def _has_answer_room(self) -> bool:
        """Return True if another inference may begin.

        The number of answers that wait or are being computed is limited, because they use memory.
        """
        if self._workers == 1:
            return self._scheduler.answer_room
        return self._scheduler.answer_count + self._inferring < QUEUE_DEPTH + 2 * (self._workers - 1)

    def share(self, count: int) -> None:
        """Let the inference threads read the source in turn. `count` threads are added, one of which is the caller."""
        with self._lock:
            self._workers += count
            self._is_shared = True
            self._wake()

    def unshare(self) -> None:
        """Wait until no inference thread reads the source. From then on, only the caller may read it."""
        with self._lock:
            self._is_shared = False
            while self._is_capturing:
                self._may_arrive.wait()

    def answer(self, item: LoopItem) -> None:
        """Queue the answer to a frame for the caller."""
        assert item.result is not None
        with self._lock:
            if self._recorder is not None:
                self._recorder.answered(item.frame, item.timer.stages_ms, item.result)
            self._inferring -= 1
            self._scheduler.answer(item, time.monotonic_ns())
            self._may_deliver.notify()
            if self._listener is not None:
                self._listener()

    def invalid(self, index: int) -> None:
        """Record that the model's outputs for a frame are invalid."""
        with self._lock:
            self._inferring -= 1
            self._scheduler.invalid(index, time.monotonic_ns())
            self._may_answer.notify()

    def next(self) -> Tick | None:
        """Wait for the next answer and return it, or None at the end of the loop.

        If an error ended the loop, raise it.
        """
        with self._lock:
            while (tick := self._deliver()) is None and not self._over():
                self._may_deliver.wait(SIGNAL_S)
            return tick

    def poll(self) -> tuple[Tick | None, bool]:
        """Return the next answer, or None if no answer is ready, and whether the loop has ended.

        This method never waits. It raises the same errors as `next`.
        """
        with self._lock:
            tick = self._deliver()
            return tick, tick is None and self._over()

    def release(self) -> None:
        """Record that the caller is done with the last answer."""
        with self._lock:
            self._release(time.monotonic_ns())

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in another thread, whenever `poll` may return something new.

        None stops the calls.
        """
        with self._lock:
            self._listener = listener

    def report(self, event: Event) -> None:
        """Count and record an event of the source or of an accelerator."""
        with self._lock:
            if event.kind == "corrupt":
                self._scheduler.corrupt(event.index, event.at_ns)
            if self._recorder is not None:
                self._recorder.event(event)

    def stop(self) -> None:
        """Stop the loop, and wake all waiting threads."""
        with self._lock:
            self._stopped = True
            self._wake()

    def end_capture(self, error: BaseException | None) -> None:
        """Record that no frame will follow.

        `next` and `poll` raise the error after the answers to the earlier frames.
        """
        with self._lock:
            self._error = self._error or error
            self._capture_ended = True
            self._wake()

    def end_inference(self, error: BaseException | None) -> None:
        """Record that an inference thread ended. After an error, the other threads also end.

        When the last one has ended, `next` and `poll` raise the error after the earlier answers.
        """
        with self._lock:
            self._error = self._error or error
            self._inference_failed = self._inference_failed or error is not None
            self._workers -= 1
            self._wake()

    def _deliver(self) -> Tick | None:
        now_ns = time.monotonic_ns()
        self._release(now_ns)
        if self._stopped or (item := self._scheduler.deliver(now_ns)) is None:
            return None
        self._delivered = item.index
        self._may_answer.notify()
        assert item.result is not None
        return Tick(
            item.frame,
            item.result,
            item.timer.stages_ms,
            time.monotonic_ns(),
            dict(self._scheduler.drops),
            doubts=item.doubts,
            rung=item.timer.rung,
            agreement=item.timer.agreement,
        )

    def _release(self, now_ns: int) -> None:
        if self._delivered is not None:
            self._scheduler.done(self._delivered, now_ns)
            self._delivered = None

    def _over(self) -> bool:
        """Return True if no answer will follow. Raise the error that ended the loop, if any."""
        if not self._stopped and not self._workers and self._error is not None:
            raise self._error
        return self._stopped or not self._workers

    def _wake(self) -> None:
        for condition in (self._may_arrive, self._may_begin, self._may_answer, self._may_deliver):
            condition.notify_all()
        if self._listener is not None:
            self._listener()

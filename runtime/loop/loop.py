"""The camera loop: capture, inference and the caller's work overlap, each in its own thread.

The capture thread reads and prepares frames, the inference thread runs the model, and the caller takes the answers in
its own thread. The threads spend most of their time in native calls, which release the GIL. `scheduler.FrameScheduler`
decides which frames wait, are processed or are dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import cv2

from orilla.devices.cores import keep_to_core
from orilla.devices.errors import ConfigError, DataError, InvalidOutputError, OrillaError, SourceError
from orilla.runtime.frame import Event, EventKind, Frame, Line, Record, Tick, media_time_ns
from orilla.runtime.loop.guard import Guard
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.shared_scheduler import LoopItem, Recorder, SharedScheduler
from orilla.runtime.loop.stages import Stages, StageTimer
from orilla.runtime.loop.workers import ADD_AFTER, ComputeFunction, InOrder, WorkerPlan
from orilla.runtime.sources.source import Source

JOIN_TIMEOUT_S = 5.0
"""Number of seconds to wait for both threads when the loop ends. A thread may hang in a driver."""

STALL_S = 10.0
"""Duration of an inference in seconds after which an event reports that the accelerator of a live source's loop may
hang."""


class CameraLoop:
    """A camera loop that processes one source once, and closes the source at the end.

    Args:
        source: Source of the frames.
        stages: The stages that process each frame.
        policy: Policy that selects the frames to process.
        on_event: Function that receives the events. If None, the events are logged as warnings to the logger `orilla`.
        recorder: Receives everything that happens in the loop. If None, nothing is recorded.

    Raises:
        ConfigError: The policy needs a frame rate, but the source has no frame rate.
    """

    _counting, _running = threading.Lock(), 0
    """Lock for `_running`, and the number of loops that run in this process. If a loop is the only one, its threads are
    pinned to cores."""

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
            msg = f"policy={policy}: this source has no frame rate; use policy=every"
            raise ConfigError(msg)
        self.source = source
        self._stages, self._on_event = stages, on_event
        self._scheduler = SharedScheduler(policy, live=source.live, recorder=recorder)
        self.guard: Guard | None = None
        """Guard that checks the frames. If None, frames are not checked. Set it before `start`."""
        self.plan: WorkerPlan | None = None
        """Plan for further inference workers. If None, there is one worker. Set it before `start`."""
        self.at_start: list[Callable[[], None]] = []
        """Functions that `start` calls before the threads begin."""
        self.at_end: list[Callable[[], None]] = []
        """Functions that `stop` calls when the threads have ended."""
        self._in_order = InOrder(self._finish)
        self._answered = self._has_planned = self._is_replaced = False
        self._ready = 1
        self._spent_ms = [0.0, 0.0]
        """Total time for capturing and preparing frames, and total time for inference and decoding."""
        self._doubts: tuple[str, ...] = ()
        self._alone = False
        self._inferring = 0
        self._inferring_since_ns: int | None = None
        self._invalid = ""
        """Reason why the newest outputs are invalid. Empty if they are valid."""
        self._stalled: int | None = None
        """Index of the last frame whose inference did not end in time."""
        self._size: tuple[int, ...] | None = None
        self._prepared_count, self._last_corrupt = 0, ""
        self._threads = [
            threading.Thread(target=self._run_capture, name="orilla-capture", daemon=True),
            threading.Thread(target=self._run_inference, name="orilla-infer", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads."""
        with CameraLoop._counting:
            self._alone = CameraLoop._running == 0
            CameraLoop._running += 1
        for begin in self.at_start:
            begin()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop the threads and close the source. A second call does nothing."""
        self._scheduler.stop()
        if self._threads[0].ident is None:
            self.source.close()
        deadline_s = time.monotonic() + JOIN_TIMEOUT_S
        for thread in self._threads:
            if thread.ident is not None and thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))
        with ExitStack() as ends:
            while self.at_end:
                ends.callback(self.at_end.pop())

    def next(self) -> Tick | None:
        """Wait for the next answer and return it, or None at the end of the loop.

        Raises:
            SourceError: The source failed. All answers to earlier frames have been delivered.
        """
        return self._scheduler.next()

    def poll(self) -> tuple[Tick | None, bool]:
        """Return the next answer, or None if no answer is ready, and whether the loop has ended.

        This method never waits. It raises the same errors as `next`.
        """
        return self._scheduler.poll()

    def release(self) -> None:
        """Record that the caller is done with the last answer."""
        self._scheduler.release()

    def listen(self, listener: Callable[[], None] | None) -> None:
        """Call `listener`, in another thread, whenever `poll` may return something new.

        None stops the calls.
        """
        self._scheduler.listen(listener)

    @property
    def workers(self) -> int:
        """Return the number of inference workers."""
        return self._ready - self._is_replaced

    @property
    def drops(self) -> dict[str, int]:
        """Return the number of dropped frames so far for each reason."""
        return self._scheduler.drops

    def report_engine(self, detail: str) -> None:
        """Report an event of an accelerator. The inference thread calls this method."""
        self.report("engine", detail)

    def report(self, kind: EventKind, detail: str) -> None:
        """Report an event for the frame whose inference began most recently. Any thread may call this method."""
        self._report(Event(kind, self._inferring, time.monotonic_ns(), detail))

    def _run_capture(self) -> None:
        error: BaseException | None = None
        try:
            try:
                self._capture()
            finally:
                # The thread that reads also closes the source, because closing a device while another thread reads from
                # it could crash the process.
                self._scheduler.unshare()
                self.source.close()
        except BaseException as raised:  # noqa: BLE001 - raised again in the caller's thread
            error = raised
        with CameraLoop._counting:
            CameraLoop._running -= 1
        self._scheduler.end_capture(error)

    def _run_inference(self) -> None:
        error: BaseException | None = None
        try:
            self._infer_first()
        except BaseException as raised:  # noqa: BLE001 - raised again in the caller's thread
            error = raised
        self._scheduler.end_inference(error)

    def _run_worker(self) -> None:
        """Load a session and compute answers with it. If the session cannot be loaded, the other workers continue."""
        assert self.plan is not None
        error: BaseException | None = None
        is_ready = False
        try:
            with self.plan.open() as compute:
                is_ready = True
                self._ready += 1
                self._infer(compute)
        except BaseException as raised:  # noqa: BLE001 - raised again in the caller's thread
            if is_ready or not isinstance(raised, OrillaError):
                error = raised
        self._scheduler.end_inference(error)

    def _capture(self) -> None:
        if self._alone:
            keep_to_core(0)
        while self._scheduler.wait_for_room() and self._capture_next():
            if self.plan is not None and self._scheduler.backlog >= ADD_AFTER and not self._has_planned:
                self._share(self.plan)
        if not self._prepared_count and self._last_corrupt:
            msg = f"no frame could be used: {self._last_corrupt}"
            raise SourceError(msg)

    def _capture_next(self) -> bool:
        """Capture and prepare a frame, or report an event. Return False at the end of the source."""
        timer = StageTimer()
        frame = self.source.read()
        if frame is None:
            return False
        if self.source.live:
            self._report_stall()
        if isinstance(frame, Event):
            self._report(frame)
        elif isinstance(frame, Frame | Line | Record):
            self._prepare(frame, timer)
        else:
            msg = f"{type(self.source).__name__}.read() returned a {type(frame).__name__}; it must return a Frame"
            raise SourceError(msg)
        return True

    def _capture_in_turn(self) -> None:
        """Capture a frame in an inference thread, and record the end of the source or its failure."""
        error: BaseException | None = None
        goes_on = False
        try:
            goes_on = self._capture_next()
        except BaseException as raised:  # noqa: BLE001 - raised again in the caller's thread
            error = raised
        if not goes_on:
            self._scheduler.end_capture(error)
        self._scheduler.end_turn()

    def _share(self, plan: WorkerPlan) -> None:
        """Add as many inference workers as increase the throughput.

        The capture thread becomes one of them until the loop ends. The workers read the source in turn, so a
        core never waits for frames that another core has to capture.
        """
        count = plan.count(*self._spent_ms) - 1 + plan.replaces_first
        self._has_planned = self._answered
        if not self._answered or count < 1:
            return
        threads = [
            threading.Thread(target=self._run_worker, name="orilla-infer", daemon=True) for _ in range(count - 1)
        ]
        self._threads += threads
        self._scheduler.share(count)
        for thread in threads:
            thread.start()
        opencv_threads = cv2.getNumThreads()
        if self._alone:
            cv2.setNumThreads(1)  # All cores are busy with inferences.
        self._run_worker()
        cv2.setNumThreads(opencv_threads)
        self._scheduler.unshare()

    def _prepare(self, frame: Frame | Line | Record, timer: StageTimer) -> None:
        time_ns = frame.captured_ns if self.source.live else media_time_ns(frame, self.source.rate_hz)
        timer.frame_ns = time_ns
        if not self._scheduler.admit(frame.index, frame.captured_ns if time_ns is None else time_ns):
            return
        timer.lap("capture")
        try:
            prepared = self._stages.prepare(frame.raw)
        except DataError as error:
            self._report(Event("corrupt", frame.index, time.monotonic_ns(), str(error)))
            return
        timer.lap("prepare")
        self._report_new_size(frame)
        self._prepared_count += 1
        self._scheduler.arrive(LoopItem(frame, prepared, timer, doubts=self._doubts_of(frame, prepared)))

    def _infer_first(self) -> None:
        """Answer frames with the stages of the loop."""
        if self._alone:
            keep_to_core(1)
        if self.plan is None:
            self._infer(self._stages.answer)
        else:
            replaces_first = self.plan.replaces_first
            self._infer(self.plan.stages.compute, lambda: replaces_first and self._ready > 1)
            self._is_replaced = replaces_first and self._ready > 1
        if not self._answered and self._invalid:
            msg = f"no frame has an answer: {self._invalid}"
            raise InvalidOutputError(msg)

    def _infer(self, compute: ComputeFunction, ends: Callable[[], bool] = lambda: False) -> None:
        """Answer frames until the loop ends, or until `ends` returns True. Each inference worker has its own thread."""
        while not ends() and (item := self._scheduler.begin()) is not None:
            if isinstance(item, str):
                self._capture_in_turn()
                continue
            self._inferring, self._inferring_since_ns = item.index, time.monotonic_ns()
            item.timer.restart()
            try:
                item.result = compute(item.input, item.frame.raw, item.timer)
            except InvalidOutputError as error:
                item.invalid = str(error)
            item.input = None
            self._in_order.complete(item)
            self._inferring_since_ns = None
            del item  # Release the buffers now, not only when the next inference starts.

    def _finish(self, item: LoopItem) -> None:
        """Queue an answer for the caller. The items come in the order in which their inferences began."""
        if item.result is None:
            self._report_invalid(item.index, item.invalid)
            self._scheduler.invalid(item.index)
            return
        if self.plan is not None:
            for place, names in enumerate((("capture", "prepare"), ("infer", "decode"))):
                self._spent_ms[place] += sum(item.timer.stages_ms.get(name, 0.0) for name in names)
            item.timer.restart()
            item.result = self.plan.stages.finish(item.result, item.timer)
        self._report_valid(item.index)
        self._answered = True
        self._scheduler.answer(item)

    def _report_invalid(self, index: int, reason: str) -> None:
        """Report the first of several frames for which the model's outputs are invalid."""
        if not self._invalid:
            detail = f"frame {index} has no answer: {reason}"
            self._report(Event("invalid", index, time.monotonic_ns(), detail))
        self._invalid = reason

    def _report_valid(self, index: int) -> None:
        """Report that the model's outputs are valid again."""
        if self._invalid:
            self._invalid = ""
            detail = f"the outputs are valid again, from frame {index} on"
            self._report(Event("invalid", index, time.monotonic_ns(), detail))

    def _doubts_of(self, frame: Frame | Line | Record, prepared: object) -> tuple[str, ...]:
        """Return the names of the checks that a frame fails.

        If they differ from those of the previous frame, an event is reported.
        """
        if self.guard is None or not isinstance(frame, Frame):
            return ()
        doubts, before = self.guard.doubts(frame.image, frame.captured_ns, prepared), self._doubts
        if doubts != before:
            self._doubts = doubts
            detail = f"the frames are {' and '.join(doubts)}" if doubts else f"the frames are no longer {before[0]}"
            self._report(Event("doubt", frame.index, time.monotonic_ns(), f"{detail}, from frame {frame.index} on"))
        return doubts

    def _report(self, event: Event) -> None:
        """Count, record and report an event of the source or of an accelerator."""
        if event.kind == "waiting":
            return
        if event.kind == "corrupt":
            self._last_corrupt = event.detail
        self._scheduler.report(event)
        if self._on_event is None:
            import logging

            logging.getLogger("orilla").warning("%s", event.detail)
        else:
            self._on_event(event)

    def _report_stall(self) -> None:
        """Report once that an inference is stuck. The capture thread of a live source calls this method."""
        index, since_ns = self._inferring, self._inferring_since_ns
        if since_ns is None or index == self._stalled or time.monotonic_ns() - since_ns < 1e9 * STALL_S:
            return
        self._stalled = index
        detail = f"the inference on frame {index} has not ended for {STALL_S:g} s: the engine or its accelerator hangs"
        self._report(Event("engine", index, time.monotonic_ns(), detail))

    def _report_new_size(self, frame: Frame | Line | Record) -> None:
        """Report an event if the frame size of a live source has changed."""
        if not isinstance(frame, Frame) or not self.source.live:
            return
        if self._size is not None and self._size != frame.image.shape:
            old, new = (f"{shape[1]}x{shape[0]}" for shape in (self._size, frame.image.shape))
            self._report(Event("size", frame.index, time.monotonic_ns(), f"the frame size changed from {old} to {new}"))
        self._size = frame.image.shape

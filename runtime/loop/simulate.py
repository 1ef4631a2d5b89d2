"""Simulate the camera loop without threads and without waiting, but with the same decisions as the real loop.

The simulation uses the same `FrameScheduler` as the real loop. The times of capture, inference and the caller's work
are given for each frame. Simulating one second of a camera takes a millisecond.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.scheduler import FrameScheduler, Reason


@dataclass(frozen=True, slots=True)
class SimulatedFrame:
    """A frame of a source, and the time in nanoseconds that each stage takes for it."""

    index: int
    captured_ns: int
    """Capture time on the monotonic clock, in nanoseconds. For a recorded source, the time from its start."""
    read_ns: int
    """For a live source, the time at which the frame becomes available. For a recorded source, the duration of reading
    the frame."""
    prepare_ns: int
    infer_ns: int
    """Duration of the inference thread's work: inference and decoding."""
    sink_ns: int
    """Duration of the caller's work."""
    corrupt: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """An answer that the caller received."""

    index: int
    captured_ns: int
    began_ns: int
    """Time at which the inference began."""
    delivered_ns: int
    drops: dict[str, int]
    """Number of frames that had been dropped by that time for each reason."""

    @property
    def age_ms(self) -> float:
        """Return the time from capture to delivery in milliseconds."""
        return (self.delivered_ns - self.captured_ns) / 1e6


@dataclass(slots=True)
class Outcome:
    """All decisions of a simulation."""

    delivered: list[Delivered] = field(default_factory=list)
    dropped: list[tuple[int, int, Reason]] = field(default_factory=list)
    """Time in nanoseconds, index of the frame and reason of each drop."""


@dataclass(slots=True)
class _Item:
    frame: SimulatedFrame
    captured_ns: int
    began_ns: int = 0

    @property
    def index(self) -> int:
        return self.frame.index


def simulate(frames: Sequence[SimulatedFrame], policy: Policy, *, live: bool) -> Outcome:
    """Simulate the loop with `frames` until it ends."""
    return _Simulation(frames, policy, live=live).run()


class _Simulation:
    def __init__(self, frames: Sequence[SimulatedFrame], policy: Policy, *, live: bool) -> None:
        self._outcome = Outcome()
        self._scheduler: FrameScheduler[_Item] = FrameScheduler(
            policy, live=live, on_drop=lambda *drop: self._outcome.dropped.append(drop)
        )
        self._frames, self._live = iter(frames), live
        self._now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        """Future events, each with its time, sequence number and function. The sequence number orders events with the
        same time."""
        self._count = 0
        self._reading = self._inferring = self._sinking = False

    def run(self) -> Outcome:
        self._start_what_can_start()
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            event()
            self._start_what_can_start()
        return self._outcome

    def _at(self, time_ns: int, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_ns, self._count, event))

    def _start_what_can_start(self) -> None:
        if not self._sinking and (item := self._scheduler.deliver(self._now)) is not None:
            self._sinking = True
            drops = dict(self._scheduler.drops)
            self._outcome.delivered.append(Delivered(item.index, item.captured_ns, item.began_ns, self._now, drops))
            self._at(self._now + item.frame.sink_ns, self._end_sink)
        if not self._inferring and self._scheduler.answer_room:
            if hold_ns := self._scheduler.hold_ns(self._now):
                self._at(self._now + hold_ns, self._end_hold)
            elif (item := self._scheduler.begin(self._now)) is not None:
                item.began_ns, self._inferring = self._now, True
                self._at(self._now + item.frame.infer_ns, partial(self._end_inference, item))
        if not self._reading and self._scheduler.room:
            self._read()

    def _read(self) -> None:
        frame = next(self._frames, None)
        self._reading = frame is not None
        if frame is not None:
            end_ns = max(self._now, frame.read_ns) if self._live else self._now + frame.read_ns
            # In a recorded source, the capture time of a frame is the time at which reading the frame ends.
            item = _Item(frame, frame.captured_ns if self._live else end_ns)
            self._at(end_ns, partial(self._end_read, item))

    def _end_read(self, item: _Item) -> None:
        if item.frame.corrupt:
            self._scheduler.corrupt(item.index, self._now)
        elif self._scheduler.admit(item.index, item.frame.captured_ns, self._now):
            self._at(self._now + item.frame.prepare_ns, partial(self._end_prepare, item))
            return
        self._reading = False

    def _end_prepare(self, item: _Item) -> None:
        self._scheduler.arrive(item, self._now)
        self._reading = False

    def _end_inference(self, item: _Item) -> None:
        self._scheduler.answer(item, self._now)
        self._inferring = False

    def _end_sink(self) -> None:
        self._sinking = False

    def _end_hold(self) -> None:
        """End the wait for a frame that was about to arrive. `run` then tries to start the inference again."""

"""The camera loop in simulated time: the same decisions as the real one, without threads and without waiting.

Capture, inference and caller each take a given time and ask the same `FrameScheduler`. A second of camera takes a
millisecond.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.scheduler import FrameScheduler, Reason


@dataclass(frozen=True, slots=True)
class Given:
    """A frame of a source, and the time of each stage for it, nanoseconds."""

    index: int
    captured_ns: int
    """Capture time on the monotonic clock; for a recording, the position in it."""
    read_ns: int
    """For a live source, the time from which it can be read; for a recording, the duration of reading."""
    prepare_ns: int
    infer_ns: int
    sink_ns: int
    corrupt: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """An answer that the caller has received."""

    index: int
    captured_ns: int
    began_ns: int
    delivered_ns: int
    drops: dict[str, int]

    @property
    def age_ms(self) -> float:
        """Return the time from capture to delivery, milliseconds."""
        return (self.delivered_ns - self.captured_ns) / 1e6


@dataclass(slots=True)
class Outcome:
    """All decisions of a simulation."""

    delivered: list[Delivered] = field(default_factory=list)
    dropped: list[tuple[int, int, Reason]] = field(default_factory=list)
    """Clock, number and reason of each dropped frame."""


@dataclass(slots=True)
class _Item:
    given: Given
    captured_ns: int
    began_ns: int = 0

    @property
    def index(self) -> int:
        return self.given.index


def simulate(frames: Sequence[Given], policy: Policy, *, live: bool) -> Outcome:
    """Simulate the loop on `frames` to its end."""
    return _Simulation(frames, policy, live=live).run()


class _Simulation:
    def __init__(self, frames: Sequence[Given], policy: Policy, *, live: bool) -> None:
        self._outcome = Outcome()
        self._traffic: FrameScheduler[_Item] = FrameScheduler(
            policy, live=live, dropped=lambda *summary: self._outcome.dropped.append(summary)
        )
        self._frames, self._live = iter(frames), live
        self._now = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        """Time, number and function of each future event. The numbers keep events of the same time in order."""
        self._count = 0
        self._reading = self._inferring = self._sinking = False

    def run(self) -> Outcome:
        self._settle()
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            event()
            self._settle()
        return self._outcome

    def _at(self, time_ns: int, event: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_ns, self._count, event))

    def _read(self) -> None:
        given = next(self._frames, None)
        self._reading = given is not None
        if given is not None:
            read_ns = max(self._now, given.read_ns) if self._live else self._now + given.read_ns
            # A frame of a recording is stamped when it has been read.
            item = _Item(given, given.captured_ns if self._live else read_ns)
            self._at(read_ns, partial(self._was_read, item))

    def _was_read(self, item: _Item) -> None:
        if item.given.corrupt:
            self._traffic.corrupt(item.index, self._now)
        elif self._traffic.admit(item.index, item.given.captured_ns, self._now):
            self._at(self._now + item.given.prepare_ns, partial(self._was_prepared, item))
            return
        self._reading = False

    def _was_prepared(self, item: _Item) -> None:
        self._traffic.arrive(item, self._now)
        self._reading = False

    def _was_inferred(self, item: _Item) -> None:
        self._traffic.answer(item, self._now)
        self._inferring = False

    def _was_used(self) -> None:
        self._sinking = False

    def _waited(self) -> None:
        """End the wait of the inference for a frame that was about to arrive, and ask again."""

    def _settle(self) -> None:
        """Start whatever can start at this moment."""
        if not self._sinking and (item := self._traffic.deliver(self._now)) is not None:
            self._sinking = True
            drops = dict(self._traffic.drops)
            self._outcome.delivered.append(Delivered(item.index, item.captured_ns, item.began_ns, self._now, drops))
            self._at(self._now + item.given.sink_ns, self._was_used)
        if not self._inferring and self._traffic.answer_room:
            if hold_ns := self._traffic.hold_ns(self._now):
                self._at(self._now + hold_ns, self._waited)
            elif (item := self._traffic.begin(self._now)) is not None:
                item.began_ns, self._inferring = self._now, True
                self._at(self._now + item.given.infer_ns, partial(self._was_inferred, item))
        if not self._reading and self._traffic.room:
            self._read()

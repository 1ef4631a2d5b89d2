"""The camera loop in simulated time: the same decisions as the real one, without threads and without waiting.

Three actors, as in `pipeline`: capture, inference, caller. Each takes as long as it is told, and asks the same
`FrameScheduler`; a second of camera takes a millisecond.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.scheduler import FrameScheduler, Reason


@dataclass(frozen=True, slots=True)
class Given:
    """A frame of a source, and how long each stage takes for it, nanoseconds."""

    index: int
    captured_ns: int
    """Monotonic clock when it was taken; of a recording, where in it."""
    read_ns: int
    """Of a live source, the clock when it can be read; of a recording, how long reading takes."""
    prepare_ns: int
    infer_ns: int
    sink_ns: int
    corrupt: bool = False


@dataclass(frozen=True, slots=True)
class Delivered:
    """An answer in the caller's hands."""

    index: int
    captured_ns: int
    began_ns: int
    delivered_ns: int
    drops: dict[str, int]

    @property
    def age_ms(self) -> float:
        """From capture to the caller's hands."""
        return (self.delivered_ns - self.captured_ns) / 1e6


@dataclass(slots=True)
class Outcome:
    """All that was decided."""

    delivered: list[Delivered] = field(default_factory=list)
    dropped: list[tuple[int, int, Reason]] = field(default_factory=list)
    """Clock, frame and reason of each that was given up."""


@dataclass(slots=True)
class _Item:
    given: Given
    captured_ns: int
    began_ns: int = 0

    @property
    def index(self) -> int:
        return self.given.index


def simulate(frames: Sequence[Given], policy: Policy, *, live: bool) -> Outcome:
    """Runs the loop over `frames` to its end."""
    return _Simulation(frames, policy, live).run()


class _Simulation:
    def __init__(self, frames: Sequence[Given], policy: Policy, live: bool) -> None:
        self._outcome = Outcome()
        self._traffic: FrameScheduler[_Item] = FrameScheduler(
            policy, live=live, dropped=lambda *told: self._outcome.dropped.append(told)
        )
        self._frames, self._live = iter(frames), live
        self._now = 0
        self._events: list[tuple[int, int, str, _Item | None]] = []
        self._count = 0
        self._reading = self._inferring = self._sinking = False

    def run(self) -> Outcome:
        self._settle()
        while self._events:
            self._now, _, verb, item = heapq.heappop(self._events)
            getattr(self, f"_{verb}")(item)
            self._settle()
        return self._outcome

    def _after(self, time_ns: int, verb: str, item: _Item | None) -> None:
        self._count += 1
        heapq.heappush(self._events, (time_ns, self._count, verb, item))

    def _read(self) -> None:
        given = next(self._frames, None)
        self._reading = given is not None
        if given is not None:
            done = max(self._now, given.read_ns) if self._live else self._now + given.read_ns
            # A recording's frame is stamped when it has been read.
            self._after(done, "was_read", _Item(given, given.captured_ns if self._live else done))

    def _was_read(self, item: _Item) -> None:
        if item.given.corrupt:
            self._traffic.corrupt(item.index, self._now)
        elif self._traffic.admit(item.index, item.given.captured_ns, self._now):
            self._after(self._now + item.given.prepare_ns, "was_prepared", item)
            return
        self._reading = False

    def _was_prepared(self, item: _Item) -> None:
        self._traffic.arrive(item, self._now)
        self._reading = False

    def _was_inferred(self, item: _Item) -> None:
        self._traffic.answer(item, self._now)
        self._inferring = False

    def _was_used(self, item: _Item) -> None:
        self._sinking = False

    def _waited(self, nothing: None) -> None:
        """Inference held back for a frame that was about to come; it is asked again."""

    def _settle(self) -> None:
        """Begins whatever can begin at this moment."""
        if not self._sinking and (item := self._traffic.deliver(self._now)) is not None:
            self._sinking = True
            drops = dict(self._traffic.drops)
            self._outcome.delivered.append(Delivered(item.index, item.captured_ns, item.began_ns, self._now, drops))
            self._after(self._now + item.given.sink_ns, "was_used", item)
        if not self._inferring and self._traffic.answer_room:
            if hold_ns := self._traffic.hold_ns(self._now):
                self._after(self._now + hold_ns, "waited", None)
            elif (item := self._traffic.begin(self._now)) is not None:
                item.began_ns, self._inferring = self._now, True
                self._after(self._now + item.given.infer_ns, "was_inferred", item)
        if not self._reading and self._traffic.room:
            self._read()

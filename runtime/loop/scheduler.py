"""The decisions of the camera loop: which frame waits, which is answered, which is given up and why.

Nothing here waits, sleeps or asks for the time: the loop's threads, the simulation and the replay of a recording drive
the same object, each with its own clock, so that what is tested is what runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from orilla.runtime.frame import QUEUE_DEPTH
from orilla.runtime.loop.policy import Policy, Sampler

ABOUT_TO_COME = 0.15
"""Where only the newest frame counts, inference that is free waits for a frame that is due within this part of a
period, rather than begin with one that is a period old: a slow network answers fresher, and hardly less often."""

INTERVALS = 9
"""Between the last arrivals; their median is the period."""

Reason = Literal["rate", "superseded", "deadline", "unconsumed", "corrupt"]
"""Why a frame got no answer: between two periods of `rate:HZ`; a newer frame came before its inference began; older
than `deadline:MS` by then; answered, but the caller took a newer answer; damaged, empty or no picture at all."""

Verb = Literal["admit", "corrupt", "arrive", "begin", "answer", "deliver", "done"]
"""What happens to a frame: it was read and may be prepared, or it is none; it is ready; its inference may begin; it is
answered; the caller gets the answer; the caller is done with it."""


class Item(Protocol):
    """What travels: a frame's number and when it was taken."""

    @property
    def index(self) -> int: ...

    @property
    def captured_ns(self) -> int: ...


T = TypeVar("T", bound=Item)

Journal = Callable[[Verb, int, int, int], None]
"""Is told each step: the verb, the clock in nanoseconds, the frame's number, and the time that `admit` was given."""

Dropped = Callable[[int, int, Reason], None]
"""Is told each frame that is given up: the clock in nanoseconds, the frame's number, the reason."""


class FrameScheduler(Generic[T]):
    """One loop's decisions. Not for use by two threads at once: the loop holds a lock around each call.

    Args:
        policy: which frames are answered.
        live: whether time goes on when nobody reads.
        journal: is told each step.
        dropped: is told each frame that is given up.
    """

    def __init__(
        self, policy: Policy, *, live: bool, journal: Journal | None = None, dropped: Dropped | None = None
    ) -> None:
        self.drops: dict[str, int] = {}
        """Frames given up so far, by reason."""
        self._newest = live and policy.name != "every"
        self._sampler = Sampler(policy.value or 0) if policy.name == "rate" else None
        self._deadline_ns = int(1e6 * (policy.value or 0)) if policy.name == "deadline" else None
        self._waiting: deque[T] = deque()
        self._answers: deque[T] = deque()
        self._journal, self._dropped = journal, dropped
        self._arrived_ns: int | None = None
        self._intervals: deque[int] = deque(maxlen=INTERVALS)

    def admit(self, index: int, time_ns: int, now_ns: int) -> bool:
        """Whether a frame that was read is worth preparing.

        Args:
            index: of the frame.
            time_ns: when it was taken; of a recording, where in it.
            now_ns: the clock.
        """
        self._note("admit", now_ns, index, time_ns)
        if self._sampler is None or self._sampler.takes(time_ns):
            return True
        self._drop(now_ns, index, "rate")
        return False

    def corrupt(self, index: int, now_ns: int) -> None:
        """A frame cannot be used."""
        self._note("corrupt", now_ns, index)
        self._drop(now_ns, index, "corrupt")

    @property
    def room(self) -> bool:
        """Whether a frame may be read; else its source waits."""
        return self._newest or len(self._waiting) < QUEUE_DEPTH

    def arrive(self, item: T, now_ns: int) -> None:
        """A frame is ready for inference."""
        self._note("arrive", now_ns, item.index)
        if self._arrived_ns is not None:
            self._intervals.append(now_ns - self._arrived_ns)
        self._arrived_ns = now_ns
        if self._newest and self._waiting:
            self._drop(now_ns, self._waiting.popleft().index, "superseded")
        self._waiting.append(item)

    def hold_ns(self, now_ns: int) -> int:
        """How long inference should wait, though a frame is there, for one that is about to come; 0: not at all."""
        if not self._newest or not self._waiting or len(self._intervals) < INTERVALS or self._arrived_ns is None:
            return 0
        period_ns = sorted(self._intervals)[INTERVALS // 2]
        until_due_ns = self._arrived_ns + period_ns - now_ns
        slack_ns = int(ABOUT_TO_COME * period_ns)
        return until_due_ns + slack_ns if -slack_ns < until_due_ns <= slack_ns else 0

    def begin(self, now_ns: int) -> T | None:
        """The frame whose inference begins now; None where none waits."""
        item = None
        while self._waiting:
            item = self._waiting.popleft()
            if self._deadline_ns is None or now_ns - item.captured_ns <= self._deadline_ns:
                self._note("begin", now_ns, item.index)
                return item
            self._drop(now_ns, item.index, "deadline")
        if item is not None:
            self._note("begin", now_ns, item.index)
        return None

    @property
    def answer_room(self) -> bool:
        """Whether an inference may begin, its answer having a place; else it waits for the caller."""
        return self._newest or len(self._answers) < QUEUE_DEPTH

    def answer(self, item: T, now_ns: int) -> None:
        """A frame has been answered."""
        self._note("answer", now_ns, item.index)
        if self._newest and self._answers:
            self._drop(now_ns, self._answers.popleft().index, "unconsumed")
        self._answers.append(item)

    def deliver(self, now_ns: int) -> T | None:
        """The answer that the caller gets now; None where there is none."""
        if not self._answers:
            return None
        item = self._answers.popleft()
        self._note("deliver", now_ns, item.index)
        return item

    def done(self, index: int, now_ns: int) -> None:
        """The caller is done with an answer."""
        self._note("done", now_ns, index)

    def _drop(self, now_ns: int, index: int, reason: Reason) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self._dropped is not None:
            self._dropped(now_ns, index, reason)

    def _note(self, verb: Verb, now_ns: int, index: int, time_ns: int = 0) -> None:
        if self._journal is not None:
            self._journal(verb, now_ns, index, time_ns)

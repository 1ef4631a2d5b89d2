"""Decide which frame of a camera loop waits, is answered, or is dropped.

This module never waits and never reads a clock. The threads of the loop, the simulation and the replay drive the same
object, each with its own clock, so that the tests cover the code that runs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from orilla.runtime.frame import QUEUE_DEPTH
from orilla.runtime.loop.policy import Policy, Sampler

ABOUT_TO_COME = 0.15
"""Share of a period for which idle inference waits for a frame that is about to arrive, if only the newest frame
counts. It would otherwise start with a frame that is a period old. Answers become fresher and hardly less frequent."""

INTERVALS = 9
"""Number of arrival intervals whose median is the period."""

Reason = Literal["rate", "superseded", "deadline", "unconsumed", "corrupt"]
"""Reason for a drop: skipped by `rate:HZ`; replaced by a newer frame before its inference; older than `deadline:MS`;
answered, but replaced by a newer answer; damaged, empty or not an image."""

Verb = Literal["admit", "corrupt", "arrive", "begin", "answer", "deliver", "done"]
"""Step of a frame: it was read and may be prepared, or it is corrupt; it is ready; its inference may begin; it is
answered; the caller receives the answer; the caller is done with it."""


class Item(Protocol):
    """Item that travels through the loop: the number of a frame and its capture time."""

    @property
    def index(self) -> int: ...

    @property
    def captured_ns(self) -> int: ...


T = TypeVar("T", bound=Item)

Journal = Callable[[Verb, int, int, int], None]
"""Receiver of each step: verb, clock in nanoseconds, frame number, and the time that `admit` received."""

Dropped = Callable[[int, int, Reason], None]
"""Receiver of each dropped frame: clock in nanoseconds, frame number, reason."""


class FrameScheduler(Generic[T]):
    """Decisions of one loop. It is not thread-safe; the loop holds a lock around each call.

    Args:
        policy: Rule that selects the frames.
        live: True for a live source.
        journal: Receiver of each step.
        dropped: Receiver of each dropped frame.
    """

    def __init__(
        self, policy: Policy, *, live: bool, journal: Journal | None = None, dropped: Dropped | None = None
    ) -> None:
        self.drops: dict[str, int] = {}
        """Dropped frames so far, by reason."""
        self._newest = live and policy.name != "every"
        self._sampler = Sampler(policy.value or 0) if policy.name == "rate" else None
        self._deadline_ns = int(1e6 * (policy.value or 0)) if policy.name == "deadline" else None
        self._waiting: deque[T] = deque()
        self._answers: deque[T] = deque()
        self._journal, self._dropped = journal, dropped
        self._arrived_ns: int | None = None
        self._intervals: deque[int] = deque(maxlen=INTERVALS)

    def admit(self, index: int, time_ns: int, now_ns: int) -> bool:
        """Return True if a frame should be prepared.

        Args:
            index: Number of the frame.
            time_ns: Capture time; for a recording, the position in it.
            now_ns: Current clock.
        """
        self._note("admit", now_ns, index, time_ns)
        if self._sampler is None or self._sampler.takes(time_ns):
            return True
        self._drop(now_ns, index, "rate")
        return False

    def corrupt(self, index: int, now_ns: int) -> None:
        """Record that a frame cannot be used."""
        self._note("corrupt", now_ns, index)
        self._drop(now_ns, index, "corrupt")

    @property
    def room(self) -> bool:
        """Return True if a frame may be read. Otherwise its source waits."""
        return self._newest or len(self._waiting) < QUEUE_DEPTH

    def arrive(self, item: T, now_ns: int) -> None:
        """Record that a frame is ready for inference."""
        self._note("arrive", now_ns, item.index)
        if self._arrived_ns is not None:
            self._intervals.append(now_ns - self._arrived_ns)
        self._arrived_ns = now_ns
        if self._newest and self._waiting:
            self._drop(now_ns, self._waiting.popleft().index, "superseded")
        self._waiting.append(item)

    def hold_ns(self, now_ns: int) -> int:
        """Return the time for which inference should wait for a frame that is about to arrive, nanoseconds.

        0 means that it should not wait.
        """
        if not self._newest or not self._waiting or len(self._intervals) < INTERVALS or self._arrived_ns is None:
            return 0
        period_ns = sorted(self._intervals)[INTERVALS // 2]
        until_due_ns = self._arrived_ns + period_ns - now_ns
        slack_ns = int(ABOUT_TO_COME * period_ns)
        return until_due_ns + slack_ns if -slack_ns < until_due_ns <= slack_ns else 0

    def begin(self, now_ns: int) -> T | None:
        """Return the frame whose inference starts now. None if no frame waits."""
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
        """Return True if an inference may start, because there is room for its answer.

        Otherwise it waits for the caller.
        """
        return self._newest or len(self._answers) < QUEUE_DEPTH

    def answer(self, item: T, now_ns: int) -> None:
        """Record that a frame was answered."""
        self._note("answer", now_ns, item.index)
        if self._newest and self._answers:
            self._drop(now_ns, self._answers.popleft().index, "unconsumed")
        self._answers.append(item)

    def deliver(self, now_ns: int) -> T | None:
        """Return the item whose answer the caller receives now. None if there is none."""
        if not self._answers:
            return None
        item = self._answers.popleft()
        self._note("deliver", now_ns, item.index)
        return item

    def done(self, index: int, now_ns: int) -> None:
        """Record that the caller is done with an answer."""
        self._note("done", now_ns, index)

    def _drop(self, now_ns: int, index: int, reason: Reason) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self._dropped is not None:
            self._dropped(now_ns, index, reason)

    def _note(self, verb: Verb, now_ns: int, index: int, time_ns: int = 0) -> None:
        if self._journal is not None:
            self._journal(verb, now_ns, index, time_ns)

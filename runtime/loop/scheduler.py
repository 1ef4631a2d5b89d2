"""Decide which frames of a camera loop wait, are processed, or are dropped.

This module never waits and never reads a clock. The threads of the loop, the simulation and the replay use the same
class, each with its own clock. Tests of the simulation therefore cover the code that runs on the robot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, Literal, Protocol, TypeVar

from orilla.runtime.frame import QUEUE_DEPTH
from orilla.runtime.loop.policy import Policy, Sampler

HOLD_SHARE = 0.15
"""If the policy selects only the newest frame, an idle inference thread waits up to this share of a period for a frame
that is about to arrive. Without this wait, inference would start on a frame that is almost a period old. The wait makes
the answers newer, but hardly less frequent."""

INTERVALS = 9
"""Number of recent intervals between frames. The median of these intervals is used as the period of the camera."""

Reason = Literal["rate", "superseded", "deadline", "unconsumed", "corrupt", "invalid"]
"""Reason why a frame got no answer, or why its answer was not delivered:

- `rate`: The policy `rate:HZ` skipped the frame.
- `superseded`: A newer frame replaced the frame before its inference.
- `deadline`: The frame was older than the policy `deadline:MS` allows.
- `unconsumed`: A newer answer replaced the answer to the frame before the caller took it.
- `corrupt`: The frame is damaged, empty or not an image.
- `invalid`: The outputs of the model for the frame contain NaN or infinity.
"""

Verb = Literal["admit", "corrupt", "arrive", "begin", "answer", "invalid", "deliver", "done"]
"""Steps of a frame through the loop:

- `admit`: The frame was read, and the policy decides whether it is prepared.
- `corrupt`: The frame cannot be used.
- `arrive`: The frame is ready for inference.
- `begin`: The inference on the frame begins.
- `answer`: The frame is answered.
- `invalid`: The outputs of the model for the frame contain NaN or infinity.
- `deliver`: The caller receives the answer.
- `done`: The caller is done with the answer.
"""


class Item(Protocol):
    """A frame in the loop, as the scheduler sees it: its index and its capture time."""

    @property
    def index(self) -> int:
        """Return the index of the frame."""

    @property
    def captured_ns(self) -> int:
        """Return the capture time of the frame on the monotonic clock, in nanoseconds."""


T = TypeVar("T", bound=Item)

OnStep = Callable[[Verb, int, int, int], None]
"""Function that is called at each step with the verb, the current time in nanoseconds, the index of the frame, and the
capture time. The capture time is 0 unless the verb is `admit`."""

OnDrop = Callable[[int, int, Reason], None]
"""Function that receives each dropped frame: the current time in nanoseconds, the index of the frame and the reason."""


class FrameScheduler(Generic[T]):
    """The scheduler, which makes the decisions of one loop. It is not thread-safe: the loop calls it with a lock held.

    Args:
        policy: Policy that selects the frames to process.
        live: True for a live source.
        on_step: Function that receives each step.
        on_drop: Function that receives each dropped frame.
    """

    def __init__(
        self, policy: Policy, *, live: bool, on_step: OnStep | None = None, on_drop: OnDrop | None = None
    ) -> None:
        self.drops: dict[str, int] = {}
        """Number of dropped frames so far for each reason."""
        self._only_newest = live and policy.name != "every"
        self._sampler = Sampler(policy.value or 0) if policy.name == "rate" else None
        self._deadline_ns = int(1e6 * (policy.value or 0)) if policy.name == "deadline" else None
        self._waiting: deque[T] = deque()
        self._answers: deque[T] = deque()
        self._on_step, self._on_drop = on_step, on_drop
        self._arrived_ns: int | None = None
        self._intervals: deque[int] = deque(maxlen=INTERVALS)

    def admit(self, index: int, time_ns: int, now_ns: int) -> bool:
        """Return True if a frame should be prepared.

        Args:
            index: Index of the frame.
            time_ns: Capture time in nanoseconds. For a recorded source with a frame rate, the time from its start to
                the frame.
            now_ns: Current time on the monotonic clock.
        """
        self._step("admit", now_ns, index, time_ns)
        if self._sampler is None or self._sampler.selects(time_ns):
            return True
        self._drop(now_ns, index, "rate")
        return False

    def corrupt(self, index: int, now_ns: int) -> None:
        """Record that a frame cannot be used."""
        self._step("corrupt", now_ns, index)
        self._drop(now_ns, index, "corrupt")

    @property
    def room(self) -> bool:
        """Return True if the next frame may be read. Otherwise the source waits."""
        return self._only_newest or len(self._waiting) < QUEUE_DEPTH

    def arrive(self, item: T, now_ns: int) -> None:
        """Record that a frame is ready for inference."""
        self._step("arrive", now_ns, item.index)
        if self._arrived_ns is not None:
            self._intervals.append(now_ns - self._arrived_ns)
        self._arrived_ns = now_ns
        if self._only_newest and self._waiting:
            self._drop(now_ns, self._waiting.popleft().index, "superseded")
        self._waiting.append(item)

    def hold_ns(self, now_ns: int) -> int:
        """Return the time in nanoseconds that inference should wait for a frame that is about to arrive.

        0 means that inference should not wait.
        """
        if not self._only_newest or not self._waiting or len(self._intervals) < INTERVALS or self._arrived_ns is None:
            return 0
        period_ns = sorted(self._intervals)[INTERVALS // 2]
        until_due_ns = self._arrived_ns + period_ns - now_ns
        slack_ns = int(HOLD_SHARE * period_ns)
        return until_due_ns + slack_ns if -slack_ns < until_due_ns <= slack_ns else 0

    def begin(self, now_ns: int) -> T | None:
        """Return the frame whose inference starts now, or None if no inference can start."""
        item = None
        while self._waiting:
            item = self._waiting.popleft()
            if self._deadline_ns is None or now_ns - item.captured_ns <= self._deadline_ns:
                self._step("begin", now_ns, item.index)
                return item
            self._drop(now_ns, item.index, "deadline")
        if item is not None:
            self._step("begin", now_ns, item.index)
        return None

    @property
    def answer_room(self) -> bool:
        """Return True if another answer can be queued. Otherwise inference waits until the caller takes an answer."""
        return self._only_newest or len(self._answers) < QUEUE_DEPTH

    @property
    def answer_count(self) -> int:
        """Return the number of answers that wait for the caller."""
        return len(self._answers)

    def answer(self, item: T, now_ns: int) -> None:
        """Record that a frame was answered."""
        self._step("answer", now_ns, item.index)
        if self._only_newest and self._answers:
            self._drop(now_ns, self._answers.popleft().index, "unconsumed")
        self._answers.append(item)

    def invalid(self, index: int, now_ns: int) -> None:
        """Record that the model's outputs for a frame are invalid."""
        self._step("invalid", now_ns, index)
        self._drop(now_ns, index, "invalid")

    def deliver(self, now_ns: int) -> T | None:
        """Return the item whose answer the caller receives now, or None if no answer is ready."""
        if not self._answers:
            return None
        item = self._answers.popleft()
        self._step("deliver", now_ns, item.index)
        return item

    def done(self, index: int, now_ns: int) -> None:
        """Record that the caller is done with an answer."""
        self._step("done", now_ns, index)

    def _drop(self, now_ns: int, index: int, reason: Reason) -> None:
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if self._on_drop is not None:
            self._on_drop(now_ns, index, reason)

    def _step(self, verb: Verb, now_ns: int, index: int, time_ns: int = 0) -> None:
        if self._on_step is not None:
            self._on_step(verb, now_ns, index, time_ns)

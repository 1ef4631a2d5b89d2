"""Inference workers: several threads that answer frames at the same time, each with its own session."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from orilla.runtime.frame import Result
from orilla.runtime.loop.shared_scheduler import LoopItem
from orilla.runtime.loop.stages import StageTimer
from orilla.runtime.preprocessing.input_kind import RawInput

ADD_AFTER = 8
"""Workers are added after this number of consecutive inferences that found the queue full. The queue is full if
inference is the slowest stage."""

ComputeFunction = Callable[[Any, RawInput, StageTimer], Result]
"""Function that returns the result for a prepared frame, like `Stages.answer`, but accepts frames in any order."""


class SplitStages(Protocol):
    """Stages split into two parts. Only the second part must process the frames in order."""

    def compute(self, prepared: Any, raw: RawInput, timer: StageTimer) -> Result:
        """Run the network and decode its outputs, as `Stages.answer` does. One thread at a time calls this method."""

    def finish(self, result: Any, timer: StageTimer) -> Result:
        """Add the parts of a result that depend on earlier frames, such as track IDs."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """Number of inference workers that a loop may use, and the function that starts one.

    The loop adds workers while this increases the throughput.
    """

    limit: int
    """Maximum number of workers."""
    stages: SplitStages
    """Stages of the loop. The first worker uses their session."""
    open: Callable[[], AbstractContextManager[ComputeFunction]]
    """Function that loads a session for another worker. The end of the context releases the session."""
    replaces_first: bool = False
    """True if the first worker ends when another one is ready, because its session uses several threads and the others
    use one each."""

    def count(self, capture_ms: float, infer_ms: float) -> int:
        """Return the number of workers that increases the throughput.

        Only one worker at a time captures, so more workers would only wait for frames.

        Args:
            capture_ms: Total time for capturing and preparing some frames.
            infer_ms: Total time for inferring and decoding the same frames.
        """
        return min(self.limit, 1 + math.ceil(infer_ms / max(capture_ms, 1e-6)))


class InOrder:
    """Passes items to a function in the order in which their inferences began.

    The thread that completes the next item passes on all items that are ready. Other threads never wait for it.

    Args:
        finish: Function that receives the items, one at a time.
    """

    def __init__(self, finish: Callable[[LoopItem], None]) -> None:
        self._finish = finish
        self._lock = threading.Lock()
        self._ready: dict[int, LoopItem] = {}
        self._next = 0
        self._passing = False

    def complete(self, item: LoopItem) -> None:
        """Accept a completed item. Items are passed on in the order in which they began."""
        with self._lock:
            self._ready[item.turn] = item
            if self._passing:
                return
            self._passing = True
        del item  # Release the buffers of the item before later items are passed on.
        while (ready := self._take()) is not None:
            self._finish(ready)
            del ready

    def _take(self) -> LoopItem | None:
        with self._lock:
            item = self._ready.pop(self._next, None)
            self._passing = item is not None
            self._next += self._passing
            return item

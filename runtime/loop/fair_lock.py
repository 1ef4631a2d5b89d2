"""A lock that threads acquire in the order in which they requested it."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType


class FairLock:
    """A lock that the longest-waiting thread always acquires next.

    With `threading.Lock`, a thread that releases the lock and immediately requests it again usually acquires it,
    although another thread waits. The frames of one camera could then wait for a long time.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self, timeout_s: float | None = None) -> bool:
        """Wait for the lock. Return False if another thread still holds it after `timeout_s` seconds."""
        with self._guard:
            if not self._held:
                self._held = True
                return True
            turn = threading.Lock()
            turn.acquire()
            self._waiting.append(turn)
        got = False
        try:
            got = turn.acquire(timeout=-1 if timeout_s is None else timeout_s)
        finally:
            if not got:
                self._leave(turn)
        return got

    def release(self) -> None:
        """Pass the lock to the thread that has waited longest."""
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

    def _leave(self, turn: threading.Lock) -> None:
        """Stop waiting for the lock after an interrupt or after the timeout."""
        with self._guard:
            if turn in self._waiting:
                self._waiting.remove(turn)
                return
        self.release()

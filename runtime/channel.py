"""Hand-over of items from one thread to the next: all of them in turn, or only the newest."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - a signal between threads, not an error
    """The channel was closed, and nothing is left in it."""


class Channel(Generic[T]):
    """A bounded queue between one giving and one taking thread.

    With `newest` a full channel drops its oldest item instead of making the giver wait, and counts it.
    """

    def __init__(self, capacity: int, *, newest: bool = False) -> None:
        self.dropped_before = 0
        """Items dropped before the one that was taken last; for the taking thread."""
        self._dropped = 0
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest = newest
        self._closed = False
        self._error: BaseException | None = None
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def put(self, item: T) -> None:
        """Gives one item; raises `Closed`."""
        with self._not_full:
            while not self._closed and len(self._items) >= self._capacity:
                if self._newest:
                    self._items.popleft()
                    self._dropped += 1
                else:
                    self._not_full.wait()
            if self._closed:
                raise Closed
            self._items.append(item)
            self._not_empty.notify()

    def get(self) -> T:
        """Takes the oldest item, waiting for one.

        Raises:
            Closed: closed, and nothing is left; or the error that it was closed with.
        """
        with self._not_empty:
            while not self._items:
                if self._error is not None:
                    raise self._error
                if self._closed:
                    raise Closed
                self._not_empty.wait()
            item = self._items.popleft()
            self.dropped_before = self._dropped
            self._not_full.notify()
            return item

    def close(self, error: BaseException | None = None) -> None:
        """Ends the hand-over: what is in the channel can still be taken, then `error` is raised, where one is given."""
        with self._not_empty:
            if not self._closed:
                self._error = error
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

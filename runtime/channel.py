"""Hand-over of items from one thread to the next: all of them in turn, or only the newest."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):  # noqa: N818 - a signal between threads, not an error
    """The channel was closed, and nothing is left in it."""


class Channel(Generic[T]):
    """A bounded queue between two threads.

    With `newest` a full channel drops its oldest item instead of making the giver wait, and counts it.
    """

    def __init__(self, capacity: int, *, newest: bool = False) -> None:
        self.dropped = 0
        self._items: deque[T] = deque()
        self._capacity = capacity
        self._newest = newest
        self._closed = False
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def put(self, item: T) -> T | None:
        """Gives one item; returns the one that was dropped for it. Raises `Closed`."""
        with self._not_full:
            dropped = None
            while not self._closed and len(self._items) >= self._capacity:
                if self._newest:
                    dropped = self._items.popleft()
                    self.dropped += 1
                else:
                    self._not_full.wait()
            if self._closed:
                raise Closed
            self._items.append(item)
            self._not_empty.notify()
            return dropped

    def get(self) -> T:
        """Takes the oldest item, waiting for one. Raises `Closed` when closed and empty."""
        with self._not_empty:
            while not self._items:
                if self._closed:
                    raise Closed
                self._not_empty.wait()
            item = self._items.popleft()
            self._not_full.notify()
            return item

    def close(self) -> None:
        """Ends the hand-over: what is in the channel can still be taken."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

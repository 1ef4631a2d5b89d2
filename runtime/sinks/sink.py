"""The interface of a sink, and the description of the loop that a sink receives."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from orilla.runtime.frame import Event, Tick


@dataclass(frozen=True, slots=True)
class Setup:
    """Description of the loop whose ticks a sink receives."""

    rate_hz: float | None = None
    """Frame rate of the source in frames per second. None if it has no frame rate."""
    live: bool = False
    """True for a live source, such as a camera."""
    labels: tuple[str, ...] = ()
    """Names of the model's classes, in the order of their indices. Empty if there are several models."""
    report: Callable[[str], None] = print
    """Function that reports one line of text to the user, for example that a file was repaired."""
    closing: threading.Event = field(default_factory=threading.Event)
    """Event that is set at the end of the loop. If `write` is waiting for a server or for space in a buffer, it must
    then stop waiting and raise `OutputError`."""


class Sink(ABC):
    """Receives the ticks of one loop, in order.

    The function `open_sink` of the sink's module creates it. One thread calls all other methods: the sink's own thread,
    or the main thread if the module sets `MAIN_THREAD`. In the sink's own thread, a method may be slow: the loop
    continues, and `SinkThread` counts the ticks that it drops.
    """

    @abstractmethod
    def write(self, tick: Tick) -> bool:
        """Write one tick. Return False to end the loop.

        Raises:
            OSError: The output failed. A sink with `REOPENS` is then reopened, and any other sink ends.
        """

    def event(self, event: Event) -> None:  # noqa: B027 - most sinks have nothing to do
        """Receive an event of the loop, such as a lost camera."""

    @abstractmethod
    def close(self) -> None:
        """Finish the output. Everything that was written remains readable.

        Raises:
            OSError: The output is incomplete.
        """

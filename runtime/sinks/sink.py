"""The protocol of a sink."""

from __future__ import annotations

from typing import Protocol

from orilla.runtime.frame import Tick


class Opener(Protocol):
    """Function that opens a sink, given the frame rate of the source and whether the source is live."""

    def __call__(self, rate_hz: float | None, *, live: bool = False) -> Sink:
        """Open the sink."""


class Sink(Protocol):
    """Receives the ticks of one loop, in order."""

    def write(self, tick: Tick) -> bool:
        """Write one tick. Return False to end the loop."""

    def close(self, *, complete: bool) -> None:
        """Finish the output.

        Args:
            complete: False if the loop ended with an error. The sink then discards its file.
        """

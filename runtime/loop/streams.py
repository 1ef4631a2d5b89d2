"""Iterate over the answers to the frames of several sources in one loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from msgspec.structs import replace

from orilla.devices.errors import ConfigError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.loop.shared_scheduler import SIGNAL_S
from orilla.runtime.loop.stats import Figures
from orilla.runtime.loop.stream import Stream

T = TypeVar("T")


class Streams:
    """Iterator over the answers of several streams, in the order in which they become ready.

    `tick.source` is the name of the source. Each source has its own threads and its own policy, so a source that is
    slow or lost does not delay the others. If several answers are ready, the sources take turns.

    Args:
        streams: The streams, by the names of their sources. `close` ends them all.
    """

    def __init__(self, streams: Mapping[str, Stream]) -> None:
        self._streams = dict(streams)
        self._waiting = list(self._streams)
        """Names of the sources that have not ended. The source whose turn is next is first."""
        self._last: str | None = None
        self._error: Exception | None = None
        self._ready = threading.Event()
        for stream in self._streams.values():
            stream.listen(self._ready.set)

    @property
    def sources(self) -> dict[str, Stream]:
        """Return the stream of each source. The keys are the names."""
        return dict(self._streams)

    def __iter__(self) -> Streams:
        return self

    def __next__(self) -> Tick:
        """Wait for the next answer.

        Raises:
            StopIteration: All sources have ended.
            SourceError: A source failed. It is raised after all answers of the other sources have been returned.
        """
        try:
            tick = self._next()
        except BaseException:
            self.close()
            raise
        if tick is None:
            self.close()
            raise StopIteration
        return tick

    def trigger(self, name: str = "trigger") -> None:
        """Report an event of the kind `trigger` for each source. See `Stream.trigger`."""
        for stream in self._streams.values():
            stream.trigger(name)

    def stats(self, *, recent: bool = True) -> dict[str, Figures]:
        """Return the statistics of each source, either for the last minute or for the whole run so far."""
        return {name: stream.stats(recent=recent) for name, stream in self._streams.items()}

    def close(self) -> None:
        """End all loops and close their sources."""
        self._waiting = []
        for stream in self._streams.values():
            stream.listen(None)
        # The streams are closed at the same time, because each one may wait for a driver that hangs.
        with ThreadPoolExecutor(len(self._streams)) as threads:
            for closed in [threads.submit(stream.close) for stream in self._streams.values()]:
                closed.result()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next(self) -> Tick | None:
        if self._last is not None:
            self._streams[self._last].release()
            self._last = None
        while self._waiting:
            self._ready.clear()
            for name in tuple(self._waiting):
                tick = self._take(name)
                if tick is not None:
                    self._waiting.remove(name)
                    self._waiting.append(name)
                    self._last = name
                    return tick
            if self._waiting:
                self._ready.wait(SIGNAL_S)
        error, self._error = self._error, None
        if error is not None:
            raise error
        return None

    def _take(self, name: str) -> Tick | None:
        """Return the next answer of a source, or None. If the source has ended, it is removed from `_waiting`."""
        try:
            tick, over = self._streams[name].take()
        except Exception as error:  # noqa: BLE001 - raised again when all sources have ended
            self._error = self._error or error
            tick, over = None, True
            self._streams[name].close()
        if over:
            self._waiting.remove(name)
        return tick


def by_name(sources: Mapping[str, T], named: Mapping[str, T]) -> dict[str, T]:
    """Return all sources by name. Raise `ConfigError` if there is none, or if a name is given twice."""
    twice = sorted(sources.keys() & named.keys())
    if twice or not (sources or named):
        msg = f"the source {twice[0]} is given twice" if twice else "no source: give one or more, as in front=0"
        raise ConfigError(msg)
    return {**sources, **named}


def with_name(path: Path, name: str) -> Path:
    """Return the path of a file for one source: the name of the source is added to the name of the file."""
    return path.with_name(f"{path.stem}-{name}{path.suffix}")


def named_events(on_event: Callable[[Event], None] | None, name: str) -> Callable[[Event], None] | None:
    """Return a function that adds the name of the source to each event, or None if there is no `on_event`."""
    if on_event is None:
        return None
    return lambda event: on_event(replace(event, source=name))

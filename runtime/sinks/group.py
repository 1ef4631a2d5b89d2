"""The sinks of one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from orilla.devices.errors import OutputError
from orilla.runtime.frame import Event, Tick
from orilla.runtime.sinks.registry import SinkOpener
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sinks.sink_thread import Report, SinkCounts, SinkThread
from orilla.runtime.sources.source import now_ns


class Sinks:
    """Passes each tick to all sinks of a loop. Sinks that run in their own threads do not delay the loop.

    Args:
        openers: Openers of the sinks. If one sink cannot be opened, the sinks opened before it are closed.
        setup: Description of the loop. If there are several sources, a function that returns the description of one
            source's loop for the name of the source, and the description of all loops together for None.
        report: Function that receives the events of the sinks. Several threads call it.

    Raises:
        ConfigError: A target cannot be used.
        OutputError: A sink cannot be opened.
    """

    def __init__(
        self, openers: Sequence[SinkOpener], setup: Setup | Callable[[str | None], Setup], report: Report
    ) -> None:
        self._index = 0
        self._direct: list[Sink] = []
        """Sinks whose methods must be called in the main thread."""
        self._threads: list[SinkThread] = []
        try:
            alone = len(openers) == 1
            for opener in openers:
                own = setup if isinstance(setup, Setup) else setup(opener.source)
                if opener.main_thread:
                    self._direct.append(opener.open(own))
                else:
                    self._threads.append(SinkThread(opener, own, report, alone=alone))
        except BaseException:
            self.close()
            raise

    def write(self, tick: Tick) -> bool:
        """Pass one tick to every sink. Return False if a sink asks to end the loop.

        Raises:
            OutputError: Every sink has failed, so nothing receives the answers.
        """
        self._index = tick.index
        if self._threads and not self._direct and all(sink.failed for sink in self._threads):
            reasons = [f"{sink.name}: {sink.counts.failed}" for sink in self._threads]
            msg = (
                f"all sinks have failed: {'; '.join(reasons)}"
                if len(reasons) > 1
                else str(self._threads[0].counts.failed)
            )
            raise OutputError(msg)
        threads = [sink for sink in self._threads if sink.source in (None, tick.source)]
        answers = [sink.write(tick) for sink in self._direct] + [sink.write(tick) for sink in threads]
        return all(answers)

    def event(self, event: Event) -> None:
        """Pass an event of the loop to every sink that runs in its own thread."""
        for sink in self._threads:
            if sink.source in (None, event.source):
                sink.event(event)

    def trigger(self, name: str = "trigger") -> None:
        """Pass an event of the kind `trigger` to every sink. The sink `clip` then keeps a clip.

        If `event` receives the events of a stream, call `stream.trigger` instead.

        Args:
            name: One line that says what happened.
        """
        self.event(Event("trigger", self._index, now_ns(), name))

    def close(self) -> dict[str, SinkCounts]:
        """Close all sinks.

        Return the number of ticks of each sink that runs in its own thread, by its specification.
        """
        for sink in self._direct:
            sink.close()
        return {sink.name: sink.close() for sink in self._threads}

    def __enter__(self) -> Sinks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

"""A source, an engine and a sink with faults, for tests of the camera loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from orilla.devices.errors import SourceError
from orilla.runtime.frame import Event, Frame, Tick
from orilla.runtime.loop.loop import CameraLoop
from orilla.runtime.loop.policy import Policy
from orilla.runtime.loop.stages import ModelStages
from orilla.runtime.loop.stream import Stream
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.sinks.registry import SinkOpener
from orilla.runtime.sinks.sink import Setup, Sink
from orilla.runtime.sources.source import now_ns
from orilla.runtime.tasks.segment import decode
from orilla.runtime.tasks.task import Answer

LIMIT_S = 20.0
"""Time after which a fault that waits ends by itself, so that a failed test does not hang."""

Fault = Callable[[], Any]
"""Replacement of the normal answer: a function that raises an error, waits, or returns something else."""

SIZE_HW = (16, 16)


def raising(error: BaseException) -> Fault:
    """Return a fault that raises an error."""

    def fault() -> None:
        raise error

    return fault


def waiting(gate: threading.Event) -> Fault:
    """Return a fault that hangs until an event is set."""

    def fault() -> None:
        gate.wait(LIMIT_S)

    return fault


def image(index: int) -> np.ndarray:
    """Return an image whose brightness is the number of the frame."""
    return np.full((*SIZE_HW, 3), index % 256, np.uint8)


class FaultySource:
    """A source whose reads have faults.

    A fault may return an `Event` or an image in place of the normal one. If it returns None, the normal frame follows.

    Args:
        count: Number of frames after which the source ends.
        faults: Faults by the number of the read, counted from 0.
        live: True for a camera.
        on_close: Function that `close` calls. It may raise.
    """

    rate_hz: float | None = None

    def __init__(
        self,
        count: int,
        faults: Mapping[int, Fault] | None = None,
        *,
        live: bool = True,
        on_close: Fault | None = None,
    ) -> None:
        self.live, self.closed = live, 0
        self._count, self._faults, self._on_close = count, dict(faults or {}), on_close
        self._reads = self._index = 0

    def read(self) -> Frame | Event | None:
        """Return the next frame, or the result of the fault."""
        fault = self._faults.get(self._reads)
        self._reads += 1
        if self._index >= self._count:
            return None
        found = None if fault is None else fault()
        if isinstance(found, Event):
            return found
        index, self._index = self._index, self._index + 1
        return Frame(index, image(index) if found is None else found, now_ns())

    def close(self) -> None:
        """Count the calls."""
        self.closed += 1
        if self._on_close is not None:
            self._on_close()


class FaultyEngine:
    """An engine whose inferences have faults. The output is the brightness of the image.

    Args:
        faults: Faults by the number of the inference, counted from 0. The result of a fault replaces the output.
    """

    def __init__(self, faults: Mapping[int, Fault] | None = None) -> None:
        self._faults, self.runs = dict(faults or {}), 0

    def run(self, prepared: Any) -> Any:
        """Return the output for an image."""
        fault = self._faults.get(self.runs)
        self.runs += 1
        found = None if fault is None else fault()
        return np.full((4, 4, 1), prepared[0, 0, 0] / 255, np.float32) if found is None else found

    def stages(self) -> ModelStages:
        """Return the stages of a loop with this engine."""
        preprocessor = Preprocess(size_hw=(8, 8), color="bgr").preprocessor()

        def brightness(output: Any, raw: Any) -> Answer:
            return decode(output, raw.shape[:2], "bright")

        return ModelStages(preprocessor, self.run, brightness)


class FaultySink(Sink):
    """A sink whose calls of `write` have faults.

    Args:
        faults: Faults by the number of the call, counted from 0.
        always: Fault of every call.
    """

    def __init__(self, faults: Mapping[int, Fault] | None = None, always: Fault | None = None) -> None:
        self._faults, self._always = dict(faults or {}), always
        self._calls = 0
        self.written: list[int] = []
        self.events: list[str] = []

    def write(self, tick: Tick) -> bool:
        """Note the number of the tick."""
        fault = self._faults.get(self._calls, self._always)
        self._calls += 1
        if fault is not None:
            fault()
        self.written.append(tick.index)
        return True

    def event(self, event: Event) -> None:
        """Note the kind of the event."""
        self.events.append(event.kind)

    def close(self) -> None:
        """Do nothing."""


def opener(*sinks: Sink | Exception, reopens: bool = False, name: str = "faulty") -> SinkOpener:
    """Return an opener that opens the sinks one after another. If an item is an error, it is raised."""
    waiting_sinks = list(sinks)

    def open_sink(setup: Setup) -> Sink:
        sink = waiting_sinks.pop(0)
        if isinstance(sink, Exception):
            raise sink
        return sink

    return SinkOpener(name, "", open_sink, reopens=reopens)


def stream(
    source: Any,
    engine: FaultyEngine | None = None,
    events: list[Event] | None = None,
    *,
    policy: str = "every",
    on_event: Callable[[Event], None] | None = None,
) -> Stream:
    """Return a stream of a source and an engine with faults.

    Args:
        source: The source.
        engine: The engine. If None, it has no faults.
        events: List to which the events are added.
        policy: Policy of the loop.
        on_event: Function that receives the events. If None, they are only added to `events`.
    """
    report = on_event or (lambda event: None if events is None else events.append(event))
    return Stream(CameraLoop(source, (engine or FaultyEngine()).stages(), Policy.parse(policy), on_event=report))


def lost(reason: str = "the cable is out") -> Fault:
    """Return the fault of a camera that was disconnected."""
    return raising(SourceError(reason))

"""The newest tick of each source, and the statistics that the page of the sink `web` shows."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from orilla.runtime.frame import Event, Frame, Tick, wall_time
from orilla.runtime.sources.source import now_ns

STEP_NS = 100_000_000
"""Time span in nanoseconds of one point of the plot. The point shows the largest value in this span."""

POINTS = 300
"""Number of points in the plot, which shows the last 30 seconds."""

RATE_POINTS = 20
"""Number of points (two seconds) from which the current rate is computed."""

EVENTS = 50
"""Maximum number of events in the list."""


@dataclass(slots=True)
class Point:
    """The number of answers within one step, and their largest age and inference time."""

    step: int
    """Index of the step: its time on the monotonic clock, in units of `STEP_NS`."""
    count: int = 0
    """Number of answers."""
    age_ms: float = 0.0
    infer_ms: float = 0.0


@dataclass(slots=True)
class SourceState:
    """State of one source: its newest tick and its statistics."""

    newest: Tick
    answers: int = 0
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS))
    wake: Callable[[], None] | None = None
    """Function that is called once when the next tick arrives."""


class Board:
    """Stores the newest tick of each source. One thread adds ticks, and another thread reads them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sources: dict[str, SourceState] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._counts: Counter[str] = Counter()
        self._began_ns = now_ns()

    def add(self, tick: Tick) -> None:
        """Replace the newest tick of its source."""
        step = tick.delivered_ns // STEP_NS
        with self._lock:
            state = self._sources.get(tick.source or "")
            if state is None:
                state = self._sources[tick.source or ""] = SourceState(tick)
            if not state.points or state.points[-1].step != step:
                state.points.append(Point(step))
            point = state.points[-1]
            point.count += 1
            point.age_ms = max(point.age_ms, tick.age_ms)
            point.infer_ms = max(point.infer_ms, tick.stages_ms.get("infer", 0.0))
            state.newest = tick
            state.answers += 1
            wake, state.wake = state.wake, None
        if wake is not None:
            wake()

    def add_event(self, event: Event) -> None:
        """Add an event to the list."""
        with self._lock:
            self._events.append(event)
            self._counts[event.kind] += 1

    def names(self) -> list[str]:
        """Return the names of the sources that have delivered a tick."""
        with self._lock:
            return sorted(self._sources)

    def newest(self, source: str) -> Tick | None:
        """Return the newest tick of a source, or None if there is none."""
        with self._lock:
            state = self._sources.get(source)
            return None if state is None else state.newest

    def wake_after(self, tick: Tick | None, source: str, wake: Callable[[], None]) -> None:
        """Call `wake` once, perhaps from another thread, when the source has a newer tick than `tick`."""
        with self._lock:
            state = self._sources.get(source)
            if state is None:
                return
            if state.newest is tick:
                state.wake = wake
                return
        wake()

    def document(self) -> dict[str, object]:
        """Return all statistics as a JSON document. See `docs/json.md`."""
        now = now_ns()
        with self._lock:
            sources = [
                (name, state.newest, state.answers, list(state.points)) for name, state in sorted(self._sources.items())
            ]
            events, counts = list(self._events), dict(self._counts)
        return {
            "seconds": round((now - self._began_ns) / 1e9, 3),
            "sources": [_source_document(*source, now) for source in sources],
            "event_counts": counts,
            "events": [_event_document(event) for event in events],
        }


def _source_document(name: str, tick: Tick, answers: int, points: list[Point], now: int) -> dict[str, object]:
    # The current step is not complete yet.
    first, last = now // STEP_NS - RATE_POINTS, now // STEP_NS
    recent = sum(point.count for point in points if first <= point.step < last)
    return {
        "name": name,
        "answers": answers,
        "fps": round(recent * 1e9 / (RATE_POINTS * STEP_NS), 1),
        "silent_s": round(max(0, now - tick.delivered_ns) / 1e9, 3),
        "has_image": isinstance(tick.frame, Frame),
        "tick": tick.to_dict(),
        "history": [
            [round((point.step - last) * STEP_NS / 1e9, 1), round(point.age_ms, 2), round(point.infer_ms, 2)]
            for point in points
        ],
    }


def _event_document(event: Event) -> dict[str, object]:
    return {
        **({"source": event.source} if event.source is not None else {}),
        "kind": event.kind,
        "index": event.index,
        "at": wall_time(event.at_ns),
        "detail": event.detail,
    }

"""Statistics of a running loop: stage times and the age of answers, for the last minute and for the whole run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import TypedDict

import msgspec

from orilla.runtime.frame import Tick
from orilla.runtime.loop.quantiles import Quantiles

WINDOW_S = 60.0
"""Length in seconds of the window that recent statistics cover."""

RECENT_ANSWERS = 64
"""Number of answers from which the recent rate of answers is computed."""


class StageFigures(msgspec.Struct, frozen=True):
    """Percentiles of one stage's times in milliseconds (nearest-rank method), with a relative error of at most 1 %."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class _FiguresKeys(TypedDict):
    frames: int
    """Number of answers."""
    fps: float
    """Answers per second."""
    dropped: int
    drops: dict[str, int]
    """Number of dropped frames by reason."""
    drop_ratio: float
    workers: int
    """Number of inference workers."""
    p50_ms: dict[str, float]
    """Percentile of each stage, and of `age`, `sink` and `total`. The other percentiles have the same keys."""
    p90_ms: dict[str, float]
    p99_ms: dict[str, float]
    max_ms: dict[str, float]


class FiguresDocument(_FiguresKeys, total=False):
    """Statistics of a loop in a JSON document."""

    rungs: dict[str, int]
    """Number of answers of each rung. Only with a ladder."""
    agreement: float
    """Mean agreement of the last checks, 0–1. Only with a shadow check."""


class Figures(msgspec.Struct, frozen=True):
    """Statistics of a loop up to a point in time."""

    frames: int
    """Number of answers that the caller has received in the whole run."""
    fps: float
    """Number of answers per second, computed from the last `RECENT_ANSWERS` answers or from the whole run."""
    drops: Mapping[str, int]
    """Number of dropped frames in the whole run for each reason."""
    drop_ratio: float
    """Share of all frames in the whole run that were dropped, 0–1."""
    age_ms: float
    """Age in milliseconds of the frame to which the newest answer belongs. 0 before the first answer."""
    stages: Mapping[str, StageFigures]
    """Percentiles of each time, by name:

    - `capture`, `prepare`, `infer` and `decode`: the stages. `track` if objects are tracked.
    - `age`: the time from capture until the caller has the answer.
    - `sink`: the caller's work with the answer.
    - `total`: the time from capture until the caller is done with the answer.
    - the names of times that the caller added with `Stream.note`.
    """
    workers: int = 1
    """Number of threads that run inferences at the same time, each on its own frame and session."""
    rungs: Mapping[str, int] = {}
    """Number of answers of each rung in the whole run. The keys are the names. Empty if the loop has no ladder."""
    rung: str | None = None
    """Name of the rung that gave the newest answer. None if the loop has no ladder."""
    agreement: float | None = None
    """Mean agreement of the last shadow checks, 0–1. None if there was none."""

    def to_dict(self) -> FiguresDocument:
        """Return the statistics as a JSON document."""
        document: FiguresDocument = {
            "frames": self.frames,
            "fps": round(self.fps, 1),
            "dropped": sum(self.drops.values()),
            "drops": dict(self.drops),
            "drop_ratio": round(self.drop_ratio, 4),
            "workers": self.workers,
            "p50_ms": {name: round(stage.p50_ms, 3) for name, stage in self.stages.items()},
            "p90_ms": {name: round(stage.p90_ms, 3) for name, stage in self.stages.items()},
            "p99_ms": {name: round(stage.p99_ms, 3) for name, stage in self.stages.items()},
            "max_ms": {name: round(stage.max_ms, 3) for name, stage in self.stages.items()},
        }
        if self.rungs:
            document["rungs"] = dict(self.rungs)
        if self.agreement is not None:
            document["agreement"] = round(self.agreement, 4)
        return document


class LoopStats:
    """Collects the statistics of a loop. The caller's thread adds times, and any thread may read the statistics."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[str, Quantiles] = {}
        self._all: dict[str, Quantiles] = {}
        self._deliveries_ns: deque[int] = deque(maxlen=RECENT_ANSWERS)
        self._first_ns = self._last_ns = 0
        self._captured_ns = 0
        self._frames = 0
        self._rungs: dict[str, int] = {}
        self._rung: str | None = None
        self._agreement: float | None = None
        self.drops: Mapping[str, int] = {}
        self.workers = 1

    def delivered(self, tick: Tick) -> None:
        """Record that an answer was delivered."""
        with self._lock:
            now_ns = tick.delivered_ns
            if not self._frames:
                self._first_ns = now_ns
            self._frames += 1
            self._last_ns, self._captured_ns = now_ns, tick.captured_ns
            self._deliveries_ns.append(now_ns)
            for name, value in tick.stages_ms.items():
                self._add(name, value, now_ns)
            self._add("age", tick.age_ms, now_ns)
            self._agreement = self._agreement if tick.agreement is None else tick.agreement
            if tick.rung is not None:
                self._rung = tick.rung
                self._rungs[tick.rung] = self._rungs.get(tick.rung, 0) + 1

    def done(self, tick: Tick, now_ns: int) -> None:
        """Record that the caller is done with an answer."""
        with self._lock:
            self._add("sink", (now_ns - tick.delivered_ns) / 1e6, now_ns)
            self._add("total", (now_ns - tick.captured_ns) / 1e6, now_ns)

    def add(self, name: str, value_ms: float, now_ns: int) -> None:
        """Add a time that the caller measured, under a name that the caller chose."""
        with self._lock:
            self._add(name, value_ms, now_ns)

    def figures(self, now_ns: int, *, recent: bool = True) -> Figures:
        """Return the statistics of the last minute or of the whole run.

        `now_ns` is the current time on the monotonic clock.
        """
        with self._lock:
            stages = {}
            for name, quantiles in (self._recent if recent else self._all).items():
                quantiles.forget(now_ns)
                p50, p90, p99 = quantiles.at(50, 90, 99)
                stages[name] = StageFigures(p50, p90, p99, quantiles.max)
            first, count = (self._first_ns, self._frames) if not recent else (self._since(), len(self._deliveries_ns))
            # The time since the last answer is included, so that the rate falls if no new answer comes.
            period_ns = (self._last_ns - first) / max(1, count - 1)
            span_s = (max(self._last_ns, now_ns - period_ns if recent else 0) - first) / 1e9
            dropped = sum(self.drops.values())
            frames = self._frames + dropped
            return Figures(
                frames=self._frames,
                fps=(count - 1) / span_s if span_s > 0 else 0.0,
                drops=dict(self.drops),
                drop_ratio=dropped / frames if frames else 0.0,
                age_ms=(now_ns - self._captured_ns) / 1e6 if self._frames else 0.0,
                stages=stages,
                workers=self.workers,
                rungs=dict(self._rungs),
                rung=self._rung,
                agreement=self._agreement,
            )

    def _since(self) -> int:
        return self._deliveries_ns[0] if self._deliveries_ns else 0

    def _add(self, name: str, value_ms: float, now_ns: int) -> None:
        if name not in self._all:
            self._recent[name], self._all[name] = Quantiles(WINDOW_S), Quantiles()
        self._recent[name].add(value_ms, now_ns)
        self._all[name].add(value_ms)

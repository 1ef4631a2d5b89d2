"""Figures of a running loop: every stage and end to end, with the tail, over the last minute and over the whole run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

import msgspec

from orilla.runtime.frame import Tick
from orilla.runtime.loop.quantiles import Quantiles

WINDOW_S = 60.0
"""What the live figures look back on."""

RECENT = 64
"""Answers that the live rate is taken over."""


class StageFigures(msgspec.Struct, frozen=True):
    """Milliseconds of one stage, by nearest rank within 1 %."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class Figures(msgspec.Struct, frozen=True):
    """What a loop does, at one moment."""

    frames: int
    """Answers handed over, of the whole run."""
    fps: float
    """Answers a second, lately or over the whole run."""
    drops: Mapping[str, int]
    """Frames given up, by reason, of the whole run."""
    drop_ratio: float
    """Share of the frames that got no answer, of the whole run."""
    age_ms: float
    """Since the frame of the newest answer was taken; 0 before the first."""
    stages: Mapping[str, StageFigures]
    """`capture`, `prepare`, `infer`, `decode`; `age`, from capture into the caller's hands; `sink`, what the caller
    does with it; `total`, from capture until the caller is done."""

    def to_dict(self) -> dict[str, object]:
        """As a JSON document says it."""
        return {
            "frames": self.frames,
            "fps": round(self.fps, 1),
            "dropped": sum(self.drops.values()),
            "drops": dict(self.drops),
            "drop_ratio": round(self.drop_ratio, 4),
            **{
                key: {name: round(getattr(stage, key), 3) for name, stage in self.stages.items()}
                for key in ("p50_ms", "p90_ms", "p99_ms", "max_ms")
            },
        }


class LoopStats:
    """Collects the figures of one loop: fed by the caller's thread, asked by any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent: dict[str, Quantiles] = {}
        self._all: dict[str, Quantiles] = {}
        self._arrivals: deque[int] = deque(maxlen=RECENT)
        self._first_ns = self._last_ns = 0
        self._captured_ns = 0
        self._frames = 0
        self.drops: Mapping[str, int] = {}

    def delivered(self, tick: Tick) -> None:
        """An answer goes into the caller's hands."""
        with self._lock:
            now_ns = tick.delivered_ns
            if not self._frames:
                self._first_ns = now_ns
            self._frames += 1
            self._last_ns, self._captured_ns = now_ns, tick.captured_ns
            self._arrivals.append(now_ns)
            for name, value in tick.stages_ms.items():
                self._add(name, value, now_ns)
            self._add("age", tick.age_ms, now_ns)

    def done(self, tick: Tick, now_ns: int) -> None:
        """The caller is done with an answer."""
        with self._lock:
            self._add("sink", (now_ns - tick.delivered_ns) / 1e6, now_ns)
            self._add("total", (now_ns - tick.captured_ns) / 1e6, now_ns)

    def add(self, name: str, value_ms: float, now_ns: int) -> None:
        """A time of the caller's own, by a name of its own."""
        with self._lock:
            self._add(name, value_ms, now_ns)

    def figures(self, now_ns: int, *, recent: bool = True) -> Figures:
        """The figures at the monotonic clock `now_ns`: of the last minute, or of the whole run."""
        with self._lock:
            stages = {}
            for name, quantiles in (self._recent if recent else self._all).items():
                quantiles.forget(now_ns)
                p50, p90, p99 = quantiles.at(50, 90, 99)
                stages[name] = StageFigures(p50, p90, p99, quantiles.max)
            first, count = (self._first_ns, self._frames) if not recent else (self._since(), len(self._arrivals))
            # While none comes, the last answer's own period has not passed, and then the rate falls.
            usual_ns = (self._last_ns - first) / max(1, count - 1)
            span_s = (max(self._last_ns, now_ns - usual_ns if recent else 0) - first) / 1e9
            given_up = sum(self.drops.values())
            seen = self._frames + given_up
            return Figures(
                frames=self._frames,
                fps=(count - 1) / span_s if span_s > 0 else 0.0,
                drops=dict(self.drops),
                drop_ratio=given_up / seen if seen else 0.0,
                age_ms=(now_ns - self._captured_ns) / 1e6 if self._frames else 0.0,
                stages=stages,
            )

    def _since(self) -> int:
        return self._arrivals[0] if self._arrivals else 0

    def _add(self, name: str, value_ms: float, now_ns: int) -> None:
        if name not in self._all:
            self._recent[name], self._all[name] = Quantiles(WINDOW_S), Quantiles()
        self._recent[name].add(value_ms, now_ns)
        self._all[name].add(value_ms)

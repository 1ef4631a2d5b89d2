"""Statistics of a running loop: every stage and end to end, over the last minute and over the whole run."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

import msgspec

from orilla.runtime.frame import Tick
from orilla.runtime.loop.quantiles import Quantiles

WINDOW_S = 60.0
"""Window of the live statistics, seconds."""

RECENT = 64
"""Number of answers for the live rate."""


class StageFigures(msgspec.Struct, frozen=True):
    """Percentiles of one stage by nearest rank, within 1 %, milliseconds."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


class Figures(msgspec.Struct, frozen=True):
    """Statistics of a loop at one moment."""

    frames: int
    """Answers delivered in the whole run."""
    fps: float
    """Answers per second, recently or in the whole run."""
    drops: Mapping[str, int]
    """Dropped frames of the whole run, by reason."""
    drop_ratio: float
    """Share of frames without an answer in the whole run."""
    age_ms: float
    """Age of the newest answer's frame, milliseconds; 0 before the first answer."""
    stages: Mapping[str, StageFigures]
    """Stages `capture`, `prepare`, `infer`, `decode`; `age`, from capture until the caller has the answer; `sink`, the
    caller's work; `total`, from capture until the caller is done."""

    def to_dict(self) -> dict[str, object]:
        """Return the statistics as a JSON document."""
        return {
            "frames": self.frames,
            "fps": round(self.fps, 1),
            "dropped": sum(self.drops.values()),
            "drops": dict(self.drops),
            "drop_ratio": round(self.drop_ratio, 4),
            **{
                key: {name: round(msgspec.structs.asdict(stage)[key], 3) for name, stage in self.stages.items()}
                for key in StageFigures.__struct_fields__
            },
        }


class LoopStats:
    """Collector of a loop's statistics. The caller's thread adds, and any thread may read."""

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
        """Record that an answer was delivered."""
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
        """Record that the caller is done with an answer."""
        with self._lock:
            self._add("sink", (now_ns - tick.delivered_ns) / 1e6, now_ns)
            self._add("total", (now_ns - tick.captured_ns) / 1e6, now_ns)

    def add(self, name: str, value_ms: float, now_ns: int) -> None:
        """Add a time of the caller under a name."""
        with self._lock:
            self._add(name, value_ms, now_ns)

    def figures(self, now_ns: int, *, recent: bool = True) -> Figures:
        """Return the statistics at the monotonic clock `now_ns`, of the last minute or of the whole run."""
        with self._lock:
            stages = {}
            for name, quantiles in (self._recent if recent else self._all).items():
                quantiles.forget(now_ns)
                p50, p90, p99 = quantiles.at(50, 90, 99)
                stages[name] = StageFigures(p50, p90, p99, quantiles.max)
            first, count = (self._first_ns, self._frames) if not recent else (self._since(), len(self._arrivals))
            # Without new answers, the time since the last one counts, so that the rate falls.
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

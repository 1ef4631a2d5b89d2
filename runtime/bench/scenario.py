"""Load patterns: MLPerf's scenarios over prepared inputs in memory, and the camera loop.

Single-stream issues one frame after the other. Multi-stream issues several frames per query and times the whole query.
Offline keeps all cores busy and measures the rate. As in MLPerf, inputs are prepared in advance. `loop` also includes
capture, preparation and decoding. Source: Reddi et al., "MLPerf Inference Benchmark" (2020), 3.2.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Any, Protocol

from orilla.devices.cores import available_cores
from orilla.devices.errors import ConfigError, DataError
from orilla.runtime.bench.warmup import PATIENCE_S, Steadiness, WarmUp
from orilla.runtime.bundle.golden import KnownFrame, read_frames
from orilla.runtime.engines.session import Session
from orilla.runtime.frame import Event
from orilla.runtime.loop.stream import Stream
from orilla.runtime.model import Model
from orilla.runtime.preprocessing.preprocessor import ModelInput
from orilla.runtime.runner import Given
from orilla.runtime.sources.arrays import Arrays
from orilla.runtime.sources.paced import Paced
from orilla.runtime.sources.text_lines import Texts

STREAMS = 8
"""Frames of a multi-stream query. Source: MLPerf inference rules, edge, since v1.1."""

OFFLINE_EACH = 16
"""Frames that each session processes at a time in the offline scenario."""


CAMERA_HZ = 30.0
"""Frame rate of the loop without a source, which then repeats the golden frames."""


MAX_SAMPLES = 1_000_000
"""Maximum number of stored queries. Beyond it, every second one is discarded, repeatedly."""


class Taken:
    """Times by stage and start of each query, as they are measured."""

    def __init__(self) -> None:
        self.times: dict[str, array[float]] = {}
        self.began_s: array[float] = array("d")
        """Start of each query by `time.perf_counter`."""
        self.frames = 0
        self.stride = 1
        """One of this number of queries is kept."""
        self.drops: dict[str, int] = {}
        self.notes: list[str] = []
        self._queries = 0

    def add(self, began_ns: int, frames: int, **stages_ms: float) -> None:
        """Add one query."""
        self.frames += frames
        self._queries += 1
        if self._queries % self.stride:
            return
        for name, value in stages_ms.items():
            self.times.setdefault(name, array("d")).append(value)
        self.began_s.append(began_ns / 1e9)
        if len(self.began_s) >= MAX_SAMPLES:
            self.times = {name: times[1::2] for name, times in self.times.items()}
            self.began_s, self.stride = self.began_s[1::2], 2 * self.stride

    def whole(self) -> int:
        """Return the number of complete samples. An interrupt may come between two stages."""
        return min(len(self.began_s), *map(len, self.times.values()))


class Scenario(Protocol):
    """A load pattern: how queries are issued."""

    def warm_up(self) -> WarmUp:
        """Issue queries until the times show no trend or the patience ends."""

    def measure(self, taken: Taken, going_on: Callable[[], bool]) -> None:
        """Issue at least one query, and continue while `going_on` returns True. An interrupt may end it."""


class Single:
    """One frame after the other."""

    def __init__(self, session: Session, known: Sequence[KnownFrame]) -> None:
        self._session, self._inputs = session, cycle([one.prepared for one in known])

    def warm_up(self) -> WarmUp:
        """Run frames until their times are steady."""
        return _warm_up(lambda: self._session.run(next(self._inputs)))

    def measure(self, taken: Taken, going_on: Callable[[], bool]) -> None:
        """Time each frame as the stage `infer`."""
        run, clock = self._session.run, time.perf_counter_ns
        while True:
            prepared = next(self._inputs)
            began = clock()
            run(prepared)
            taken.add(began, 1, infer=(clock() - began) / 1e6)
            if not going_on():
                return


class MultiStream(AbstractContextManager["MultiStream"]):
    """Several frames at once, over as many sessions as the cores allow.

    Args:
        load: Function that loads another session like the first.
        frames: Frames per query. None means `OFFLINE_EACH` per session, and the time of one frame is stored.
    """

    def __init__(
        self, first: Session, load: Callable[[], Session], known: Sequence[KnownFrame], threads: int, frames: int | None
    ) -> None:
        count = max(1, available_cores() // threads)
        if frames is not None:
            count = min(count, frames)
        self._first, self._sessions = first, [first]
        self._inputs = cycle([one.prepared for one in known])
        self._offline = frames is None
        self.frames = frames or OFFLINE_EACH * count
        try:
            while len(self._sessions) < count:
                self._sessions.append(load())
        except BaseException:
            self._close()
            raise
        self._pool = ThreadPoolExecutor(count, "orilla-bench")

    def __exit__(self, *ended: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._close()

    def warm_up(self) -> WarmUp:
        """Run queries until their times are steady."""
        return _warm_up(self._query)

    def measure(self, taken: Taken, going_on: Callable[[], bool]) -> None:
        """Time each query, or, offline, the share of one frame."""
        clock = time.perf_counter_ns
        while True:
            began = clock()
            self._query()
            passed = (clock() - began) / 1e6
            if self._offline:
                taken.add(began, self.frames, sample=passed / self.frames)
            else:
                taken.add(began, self.frames, query=passed)
            if not going_on():
                return

    def _query(self) -> None:
        inputs = [next(self._inputs) for _ in range(self.frames)]
        count = len(self._sessions)
        shares = [inputs[place::count] for place in range(count)]
        list(self._pool.map(_run_all, self._sessions, shares))

    def _close(self) -> None:
        for session in self._sessions[1:]:
            session.close()


class LoopScenario:
    """The camera loop over a source, which is opened separately for warm-up and measurement."""

    def __init__(self, model: Model, source: str | None, policy: str | None) -> None:
        if model.kind == "tensor":
            msg = f"{model.name} is a model of arrays and has no loop: use single-stream"
            raise ConfigError(msg)
        self._model, self._source, self._policy = model, source, policy
        self._known = read_frames(model.bundle) if source is None else []

    def warm_up(self) -> WarmUp:
        """Run the loop until the times of inference are steady."""
        steadiness, ends = Steadiness(), time.perf_counter() + PATIENCE_S
        with self._stream(lambda _event: None) as ticks:
            for tick in ticks:
                steadiness.add(tick.stages_ms["infer"], time.perf_counter())
                if steadiness.steady or time.perf_counter() > ends:
                    break
        return steadiness.summary()

    def measure(self, taken: Taken, going_on: Callable[[], bool]) -> None:
        """Store the stages of each tick and its age."""

        def note(event: Event) -> None:
            if len(taken.notes) < 20:
                taken.notes.append(f"{event.kind}: {event.detail}")

        with self._stream(note) as ticks:
            for tick in ticks:
                began = time.perf_counter_ns() - (tick.delivered_ns - tick.captured_ns)
                taken.add(began, 1, **tick.stages_ms, age=tick.age_ms)
                taken.drops = dict(tick.drops)
                if not going_on():
                    break
        if not taken.frames:
            msg = f"{self._source} gave no frame to measure"
            raise DataError(msg)

    def _stream(self, on_event: Callable[[Event], None]) -> Stream:
        return self._model.stream(self._opened(), policy=self._policy, on_event=on_event)

    def _opened(self) -> Given:
        if self._source is not None:
            return self._source
        raws: list[Any] = [one.raw for one in self._known]
        return Texts(cycle(raws)) if self._model.kind == "text" else Paced(Arrays(cycle(raws), rate_hz=CAMERA_HZ))


def _run_all(session: Session, inputs: Sequence[ModelInput]) -> None:
    for prepared in inputs:
        session.run(prepared)


def _warm_up(query: Callable[[], object]) -> WarmUp:
    steadiness, ends = Steadiness(), time.perf_counter() + PATIENCE_S
    while not steadiness.steady and (time.perf_counter() < ends or not steadiness.count):
        began = time.perf_counter_ns()
        query()
        ended = time.perf_counter_ns()
        steadiness.add((ended - began) / 1e6, ended / 1e9)
    return steadiness.summary()

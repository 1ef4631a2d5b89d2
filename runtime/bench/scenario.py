"""The scenarios: MLPerf's load patterns with prepared inputs in memory, and the real camera loop.

Single-stream runs one frame after the other. Multi-stream runs queries of several frames and measures the time of the
whole query. Offline keeps all cores busy. As in MLPerf, inputs are prepared in advance; only `loop` includes capture,
preparation and decoding. Source: Reddi et al., "MLPerf Inference Benchmark" (2020), section 3.2.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import cycle
from typing import Protocol

from orilla.devices.cores import available_cores
from orilla.devices.errors import ConfigError, DataError
from orilla.devices.names import without_secrets
from orilla.runtime.bench.timing import time_call
from orilla.runtime.bench.warmup import PATIENCE_S, Steadiness, WarmUp
from orilla.runtime.bundle.golden import KnownFrame, read_frames
from orilla.runtime.engines.session import Session
from orilla.runtime.frame import Event
from orilla.runtime.loop.stream import Stream
from orilla.runtime.model import Model
from orilla.runtime.preprocessing.input_kind import ModelInput
from orilla.runtime.runner import SourceLike
from orilla.runtime.sources.paced import Paced
from orilla.runtime.sources.registry import INPUT_SOURCES

STREAMS = 8
"""Number of frames in a multi-stream query. Source: MLPerf inference rules, edge, since v1.1."""

OFFLINE_EACH = 16
"""Number of frames that each session processes per query in the offline scenario."""

CAMERA_HZ = 30.0
"""Rate in frames per second at which the loop scenario repeats the golden frames if no source is given."""

MAX_SAMPLES = 1_000_000
"""Maximum number of stored queries. Each time it is reached, every second stored query is removed, and from then on
queries are stored half as often."""

MAX_EVENTS = 20
"""Maximum number of loop events that are added to the result as notes."""


class SampleSet:
    """The samples of one measurement: the start of each query and the time of each of its stages."""

    def __init__(self) -> None:
        self.times: dict[str, array[float]] = {}
        """Time of each stage in milliseconds."""
        self.began_s: array[float] = array("d")
        """Start of each query in seconds, on the clock of `time.perf_counter`."""
        self.frames = 0
        """Number of frames of all queries, including those that are not stored."""
        self.stride = 1
        """Every `stride`-th query is stored."""
        self.drops: dict[str, int] = {}
        """Number of frames that the loop dropped for each reason."""
        self.notes: list[str] = []
        self._queries = 0

    def add(self, began_ns: int, frames: int, **stages_ms: float) -> None:
        """Add one query.

        Args:
            began_ns: Start of the query in nanoseconds, on the clock of `time.perf_counter_ns`.
            frames: Number of frames in the query.
            **stages_ms: Duration of each stage in milliseconds.
        """
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

    def complete(self) -> int:
        """Return the number of queries that have all stages.

        An interrupt between two stages leaves an incomplete query.
        """
        return min(len(self.began_s), *map(len, self.times.values()))


class Scenario(Protocol):
    """A load pattern: how queries are issued."""

    def warm_up(self) -> WarmUp:
        """Issue queries until their times show no trend, or the warm-up reaches its limit."""

    def measure(self, samples: SampleSet, keep_going: Callable[[], bool]) -> None:
        """Issue at least one query, and further ones while `keep_going` returns True.

        Args:
            samples: Receives the times. After an interrupt it contains the queries up to the interrupt.
            keep_going: Called after each query.
        """


class SingleStream:
    """Load pattern that runs one frame after the other."""

    def __init__(self, session: Session, frames: Sequence[KnownFrame]) -> None:
        self._session, self._inputs = session, cycle([frame.prepared for frame in frames])

    def warm_up(self) -> WarmUp:
        """Run frames until their times are steady."""
        return _warm_up(lambda: self._session.run(next(self._inputs)))

    def measure(self, samples: SampleSet, keep_going: Callable[[], bool]) -> None:
        """Time the inference of each frame, and store the times as the stage `infer`."""
        while True:
            began_ns, duration_ms = time_call(self._session.run, next(self._inputs))
            samples.add(began_ns, 1, infer=duration_ms)
            if not keep_going():
                return


class MultiStream(AbstractContextManager["MultiStream"]):
    """Load pattern that runs several frames at once, spread over as many sessions as the cores allow.

    Args:
        first: A loaded session, which stays open.
        load: Function that loads another session like the first.
        frames: Golden frames, whose prepared inputs are used in turn.
        threads: Number of threads of each session.
        query_frames: Number of frames in a query. If None, the offline scenario runs: a query has `OFFLINE_EACH` frames
            per session, and its time is divided by its number of frames.
    """

    def __init__(
        self,
        first: Session,
        load: Callable[[], Session],
        frames: Sequence[KnownFrame],
        *,
        threads: int,
        query_frames: int | None,
    ) -> None:
        count = max(1, available_cores() // threads)
        if query_frames is not None:
            count = min(count, query_frames)
        self._sessions = [first]
        self._inputs = cycle([frame.prepared for frame in frames])
        self._offline = query_frames is None
        self.frames = query_frames or OFFLINE_EACH * count
        try:
            while len(self._sessions) < count:
                self._sessions.append(load())
        except BaseException:
            self._close()
            raise
        self._pool = ThreadPoolExecutor(count, "orilla-bench")

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._close()

    def warm_up(self) -> WarmUp:
        """Run queries until their times are steady."""
        return _warm_up(self._query)

    def measure(self, samples: SampleSet, keep_going: Callable[[], bool]) -> None:
        """Time each query, and store the times as the stage `query`.

        In the offline scenario, store each time divided by the number of frames, as the stage `sample`.
        """
        while True:
            began_ns, duration_ms = time_call(self._query)
            if self._offline:
                samples.add(began_ns, self.frames, sample=duration_ms / self.frames)
            else:
                samples.add(began_ns, self.frames, query=duration_ms)
            if not keep_going():
                return

    def _query(self) -> None:
        inputs = [next(self._inputs) for _ in range(self.frames)]
        count = len(self._sessions)
        shares = [inputs[index::count] for index in range(count)]
        list(self._pool.map(_run_all, self._sessions, shares))

    def _close(self) -> None:
        for session in self._sessions[1:]:
            session.close()


class LoopScenario:
    """Load pattern that runs the camera loop. The warm-up and the measurement each open the source.

    Args:
        model: The loaded model.
        source: Address of the source. If None, the golden frames are used at the frame rate of a camera.
        policy: Policy of the loop. If None, the loop's default is used.

    Raises:
        ConfigError: The model takes arrays, for which there is no loop.
    """

    def __init__(self, model: Model, source: str | None, policy: str | None) -> None:
        if model.kind not in INPUT_SOURCES:
            msg = f"{model.name} takes arrays, so it has no camera loop: use the scenario single-stream"
            raise ConfigError(msg)
        self._model, self._source, self._policy = model, source, policy
        self._frames = read_frames(model.bundle) if source is None else []

    def warm_up(self) -> WarmUp:
        """Run the loop until the inference times are steady."""
        steadiness, deadline = Steadiness(), time.perf_counter() + PATIENCE_S
        with self._stream(lambda _event: None) as ticks:
            for tick in ticks:
                steadiness.add(tick.stages_ms["infer"], time.perf_counter())
                if steadiness.steady or time.perf_counter() > deadline:
                    break
        return steadiness.summary()

    def measure(self, samples: SampleSet, keep_going: Callable[[], bool]) -> None:
        """Store the stage times and the age of each result.

        Raises:
            DataError: The source delivers no frame.
        """

        def note(event: Event) -> None:
            if len(samples.notes) < MAX_EVENTS:
                samples.notes.append(f"{event.kind}: {event.detail}")

        with self._stream(note) as ticks:
            for tick in ticks:
                began = time.perf_counter_ns() - (tick.delivered_ns - tick.captured_ns)
                samples.add(began, 1, **tick.stages_ms, age=tick.age_ms)
                samples.drops = dict(tick.drops)
                if not keep_going():
                    break
        if not samples.frames:
            msg = f"{without_secrets(str(self._source))} delivered no frame"
            raise DataError(msg)

    def _stream(self, on_event: Callable[[Event], None]) -> Stream:
        return self._model.stream(self._open_source(), policy=self._policy, on_event=on_event)

    def _open_source(self) -> SourceLike:
        if self._source is not None:
            return self._source
        frames = INPUT_SOURCES[self._model.kind].wrap(cycle([frame.raw for frame in self._frames]), CAMERA_HZ)
        return frames if frames.rate_hz is None else Paced(frames)


def _run_all(session: Session, inputs: Sequence[ModelInput]) -> None:
    for prepared in inputs:
        session.run(prepared)


def _warm_up(query: Callable[[], object]) -> WarmUp:
    steadiness, deadline = Steadiness(), time.perf_counter() + PATIENCE_S
    while not steadiness.steady and (time.perf_counter() < deadline or not steadiness.count):
        _, duration_ms = time_call(query)
        steadiness.add(duration_ms, time.perf_counter())
    return steadiness.summary()

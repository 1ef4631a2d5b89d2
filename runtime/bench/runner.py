"""Run one benchmark, from cold start and warm-up to the result."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass, field

from orilla.devices.names import without_secrets
from orilla.devices.process import peak_mib, reset_peak
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime.bench import result as results
from orilla.runtime.bench.cold_start import measure_cold_start
from orilla.runtime.bench.disturbance import Disturbance, drift, judge
from orilla.runtime.bench.monitor import Monitor
from orilla.runtime.bench.reference_workload import EVERY_S, PATIENCE, READINGS, ReferenceWorkload, known_ns, remember
from orilla.runtime.bench.result import HEADLINE, SCHEMA, BenchmarkSubject, Result, bundle_digest, this_host
from orilla.runtime.bench.result import Scenario as Name
from orilla.runtime.bench.samples import summarise
from orilla.runtime.bench.scenario import STREAMS, LoopScenario, MultiStream, SampleSet, Scenario, SingleStream
from orilla.runtime.bench.soak import Soaking
from orilla.runtime.bench.warmup import WarmUp
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import loader
from orilla.runtime.engines.session import Session
from orilla.runtime.evaluation.accuracy import Accuracy, accuracy
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.model import Model

MAX_CLOCK_STEP_S = 0.5
"""If the wall clock jumps by more than this number of seconds during a measurement, a note is added to the result."""

PROGRESS_S = 0.25
"""Interval in seconds between two progress reports during the measurement."""

PROGRESS_STEPS = 1000
"""Number of progress steps in the planned duration of a measurement."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a benchmark."""

    scenario: Name = "single-stream"
    seconds: float = 10.0
    streams: int = STREAMS
    source: str | None = None
    """Source of the loop. If None, the golden frames are played at 30 frames per second, like a camera."""
    policy: str | None = None
    soak: bool = False
    dataset: Dataset | None = None


def run(model: Model, plan: Plan, progress: Progress | None = None) -> Result:
    """Measure a loaded model.

    An interrupt ends the measurement. The result then contains the samples up to the interrupt, and `complete` is
    False.

    Args:
        model: The model.
        plan: Settings of the benchmark.
        progress: Receives the progress. If None, no progress is reported.

    Raises:
        DataError: The source delivers no frame.
        KeyboardInterrupt: The user interrupted the measurement before the first sample.
    """
    progress = progress or NoProgress()
    progress.status("measuring start-up time and memory in a new process")
    cold = measure_cold_start(str(model.bundle.path.resolve()), model.variant.name, model.engine, model.threads)
    measurement = _Measurement(plan)
    with ExitStack() as opened:
        scenario = _scenario(model, plan, opened)
        warm_up, peak = measurement.take(scenario, progress)
    if not measurement.samples.frames:
        raise KeyboardInterrupt
    measured = _accuracy(model, plan, measurement, progress)
    at_s, samples = measurement.stored()
    headline = samples[HEADLINE[plan.scenario]]
    # In the scenario `loop`, time counts from the first frame, so that opening the source is not included.
    seconds = at_s[-1] - at_s[0] + measurement.last_ms(headline) / 1e3
    disturbance = judge(measurement.monitor, measurement.workload, seconds, soak=plan.soak)
    if disturbance.interference is not None and measurement.complete:
        remember(disturbance.interference.quiet_ns)
    kept = {name: results.undisturbed(times, at_s, disturbance.excluded) for name, times in samples.items()}
    invalid = [*disturbance.invalid, *([] if plan.soak else drift(kept[HEADLINE[plan.scenario]]))]
    monitor, soaking = measurement.monitor, measurement.soaking
    return Result(
        schema=SCHEMA,
        created=results.now(),
        subject=_subject(model, plan, scenario),
        host=this_host(),
        seconds=round(seconds, 3),
        complete=measurement.complete,
        valid=not invalid,
        invalid=tuple(invalid),
        notes=tuple(_notes(model, measurement, disturbance, warm_up, seconds)),
        warm_up=warm_up,
        samples_ms=samples,
        at_s=at_s,
        summary={name: summarise(times) for name, times in kept.items()},
        per_second=round(measurement.samples.frames / max(seconds, 1e-9), 3),
        cpu_ms=round(1e3 * measurement.cpu_s / measurement.samples.frames, 4),
        peak_mib=peak,
        cold_start=cold,
        timeline=tuple(monitor.seconds),
        joules=None if monitor.joules is None else round(monitor.joules, 3),
        energy_source=monitor.energy_source,
        accuracy=measured,
        soak=soaking.summary(at_s, headline) if soaking is not None else None,
        drops=measurement.samples.drops,
        interference=disturbance.interference,
        excluded=disturbance.excluded,
    )


@dataclass
class _Measurement:
    """Takes the samples of one run, and records the state of the machine at the same time."""

    plan: Plan
    samples: SampleSet = field(default_factory=SampleSet)
    monitor: Monitor = field(default_factory=Monitor)
    workload: ReferenceWorkload | None = None
    soaking: Soaking | None = None
    complete: bool = True
    """False if the run was interrupted."""
    cpu_s: float = 0.0
    """Processor time that this process used, in seconds."""
    clock_step_s: float = 0.0
    """Number of seconds by which the wall clock has jumped since the warm-up began."""
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.plan.soak:
            self.soaking = Soaking(self.monitor.seconds)
        elif self.plan.scenario != "loop":
            self.workload = ReferenceWorkload(known_ns())

    def take(self, scenario: Scenario, progress: Progress) -> tuple[WarmUp, float | None]:
        """Warm up and take the samples. Return the warm-up, and the peak memory of the process in MiB."""
        clock_offset = _clock_offset()
        reset_peak()
        progress.status("warm-up")
        warm_up = scenario.warm_up()
        self._sample(scenario, progress)
        self.clock_step_s = _clock_offset() - clock_offset
        return warm_up, peak_mib()

    def _sample(self, scenario: Scenario, progress: Progress) -> None:
        """Take samples until there are enough undisturbed seconds, the limit is reached, or the user interrupts."""
        reported_s, name = 0.0, "soak" if self.plan.soak else self.plan.scenario
        cpu_s = time.process_time()

        def keep_going() -> bool:
            nonlocal reported_s
            at_s = time.perf_counter() - self.monitor.began
            if at_s - reported_s > PROGRESS_S:
                advance(round(PROGRESS_STEPS * (at_s - reported_s) / self.plan.seconds), name)
                reported_s = at_s
            return self._keep_going(at_s)

        with progress.steps(name, PROGRESS_STEPS) as advance, self.monitor:
            try:
                scenario.measure(self.samples, keep_going)
            except KeyboardInterrupt:
                self.complete = False
        self.cpu_s = time.process_time() - cpu_s

    def _keep_going(self, at_s: float) -> bool:
        if self.soaking is not None and self.soaking.add(at_s, self.samples.times[HEADLINE[self.plan.scenario]][-1]):
            return False
        if self.workload is not None:
            self.workload.read(at_s)
        if at_s < self.plan.seconds:
            return True
        if self.workload is None or at_s >= PATIENCE * self.plan.seconds:
            return False
        return bool(self.workload.excluded()) and self.workload.quiet_s() < self.plan.seconds - READINGS * EVERY_S

    def stored(self) -> tuple[list[float], dict[str, list[float]]]:
        """Return the start times of the stored samples in seconds since the run began, and the samples by stage."""
        count = self.samples.complete()
        at_s = [round(began - self.monitor.began, 6) for began in self.samples.began_s[:count]]
        times = {name: [round(value, 6) for value in stage[:count]] for name, stage in self.samples.times.items()}
        return at_s, times

    def last_ms(self, headline: list[float]) -> float:
        """Return the duration of the last query."""
        per_query = self.samples.frames / (len(headline) * self.samples.stride)
        return headline[-1] * (per_query if self.plan.scenario == "offline" else 1.0)


def _clock_offset() -> float:
    """Return the difference between the wall clock and the monotonic clock in seconds."""
    return time.time() - time.perf_counter()


def _scenario(model: Model, plan: Plan, opened: ExitStack) -> Scenario:
    if plan.scenario == "loop":
        return LoopScenario(model, plan.source, plan.policy)
    frames = read_frames(model.bundle)
    if plan.scenario == "single-stream":
        return SingleStream(model.session, frames)

    def load() -> Session:
        return loader.load(model.bundle, model.variant, engine=model.engine, threads=model.threads)

    query_frames = plan.streams if plan.scenario == "multi-stream" else None
    return opened.enter_context(
        MultiStream(model.session, load, frames, threads=model.threads, query_frames=query_frames)
    )


def _accuracy(model: Model, plan: Plan, measurement: _Measurement, progress: Progress) -> Accuracy | None:
    """Measure the accuracy if the plan contains a data set.

    Return None if it contains none, or if the user interrupted the run. An interrupt makes the result incomplete.
    """
    if plan.dataset is None or not measurement.complete:
        return None
    progress.status("accuracy")
    try:
        return accuracy(model.bundle, model.session, plan.dataset)
    except KeyboardInterrupt:
        measurement.complete = False
        measurement.notes.append("interrupted during the accuracy measurement")
        return None


def _subject(model: Model, plan: Plan, scenario: Scenario) -> BenchmarkSubject:
    loop = plan.scenario == "loop"
    return BenchmarkSubject(
        bundle=model.bundle.path.stem,
        sha256=bundle_digest(model.bundle),
        variant=model.variant.name,
        engine=model.engine,
        engine_version=model.session.engine,
        threads=model.threads,
        scenario=plan.scenario,
        streams=scenario.frames if isinstance(scenario, MultiStream) else 1,
        source=without_secrets(plan.source or "golden frames") if loop else None,
        policy=plan.policy if loop else None,
    )


def _notes(
    model: Model, measurement: _Measurement, disturbance: Disturbance, warm_up: WarmUp, seconds: float
) -> list[str]:
    notes = [*measurement.samples.notes, *disturbance.notes]
    if not warm_up.steady:
        notes.append(f"warm-up: no steady state after {warm_up.seconds:.1f} s")
    if abs(measurement.clock_step_s) > MAX_CLOCK_STEP_S:
        notes.append(f"the wall clock stepped by {measurement.clock_step_s:+.1f} s; times are from the monotonic clock")
    if model.note:
        notes.append(model.note)
    if not measurement.complete and not measurement.notes:
        notes.append(f"interrupted after {seconds:.1f} s")
    if measurement.samples.stride > 1:
        notes.append(f"only one in {measurement.samples.stride} samples was stored, because there were too many")
    return [*notes, *measurement.notes]

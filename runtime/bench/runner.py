"""Run one benchmark, from warm-up to result."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from orilla.devices.process import peak_mib, reset_peak
from orilla.runtime.bench import result as results
from orilla.runtime.bench.cold_start import measure_cold_start
from orilla.runtime.bench.disturbance import drift, judge
from orilla.runtime.bench.monitor import Monitor
from orilla.runtime.bench.reference_workload import EVERY_S, PATIENCE, READINGS, ReferenceWorkload, known_ns, remember
from orilla.runtime.bench.result import HEADLINE, SCHEMA, BenchmarkSubject, Result, benchmark_subject, this_host
from orilla.runtime.bench.result import Scenario as Name
from orilla.runtime.bench.samples import summarise
from orilla.runtime.bench.scenario import STREAMS, LoopScenario, MultiStream, Scenario, Single, Taken
from orilla.runtime.bench.soak import Soaking
from orilla.runtime.bench.warmup import WarmUp
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import loader
from orilla.runtime.engines.session import Session
from orilla.runtime.evaluation.accuracy import accuracy
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.model import Model

STEP_S = 0.5
"""Step of the wall clock against the monotonic clock that is reported, seconds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a benchmark."""

    scenario: Name = "single-stream"
    seconds: float = 10.0
    streams: int = STREAMS
    source: str | None = None
    """Source of the loop. None uses the golden frames at the rate of a camera."""
    policy: str | None = None
    soak: bool = False
    dataset: Dataset | None = None


def run(model: Model, plan: Plan, progress: Callable[[str, float], None] = lambda _text, _share: None) -> Result:
    """Benchmark a loaded model.

    An interrupt ends the measurement. The samples so far become a result with `complete` False.

    Args:
        model: The model.
        plan: The settings.
        progress: Function that receives the current step and its completed share, several times per second.

    Raises:
        DataError: The source has no frames.
        KeyboardInterrupt: The interrupt came before the first sample.
    """
    progress("start-up and memory, in a new process", 0.0)
    threads, engine = model.threads, model.engine
    started = measure_cold_start(str(model.bundle.path.resolve()), model.variant.name, engine, threads)
    wall = time.time() - time.perf_counter()
    reset_peak()
    with ExitStack() as opened:
        scenario = _scenario(model, plan, opened)
        progress("warm-up", 0.0)
        warm_up = scenario.warm_up()
        taken, monitor = Taken(), Monitor()
        workload = None if plan.soak or plan.scenario == "loop" else ReferenceWorkload(known_ns())
        cpu = time.process_time()
        soaking = Soaking(monitor.seconds) if plan.soak else None
        complete = _measure(scenario, taken, monitor, plan, soaking, workload, progress)
        cpu, peak = time.process_time() - cpu, peak_mib()
    if not taken.frames:
        raise KeyboardInterrupt
    whole = taken.whole()
    at_s = [round(began - monitor.began, 6) for began in taken.began_s[:whole]]
    samples = {name: [round(value, 6) for value in times[:whole]] for name, times in taken.times.items()}
    headline = samples[HEADLINE[plan.scenario]]
    # The source is opened before the first frame of a loop.
    seconds = at_s[-1] - at_s[0] + _last_ms(plan, headline, taken) / 1e3
    found = judge(monitor, workload, seconds, soak=plan.soak)
    excluded = found.excluded
    invalid = [*found.invalid, *([] if plan.soak else drift(results.kept(headline, at_s, excluded)))]
    if found.interference is not None and complete:
        remember(found.interference.quiet_ns)
    stepped_s = time.time() - time.perf_counter() - wall
    notes = [*taken.notes, *found.notes, *_notes(taken, warm_up, stepped_s), *([model.note] if model.note else [])]
    if not complete:
        notes.append(f"interrupted after {seconds:.1f} s")
    measured = None
    if plan.dataset is not None and complete:
        progress("accuracy", 0.0)
        try:
            measured = accuracy(model.bundle, model.session, plan.dataset)
        except KeyboardInterrupt:
            complete = False
            notes.append("interrupted during the measurement of accuracy")
    return Result(
        schema=SCHEMA,
        created=results.now(),
        subject=_subject(model, plan, scenario),
        host=this_host(),
        seconds=round(seconds, 3),
        complete=complete,
        valid=not invalid,
        invalid=tuple(invalid),
        notes=tuple(notes),
        warm_up=warm_up,
        samples_ms=samples,
        at_s=at_s,
        summary={name: summarise(results.kept(times, at_s, excluded)) for name, times in samples.items()},
        per_second=round(taken.frames / max(seconds, 1e-9), 3),
        cpu_ms=round(1e3 * cpu / taken.frames, 4),
        peak_mib=peak,
        cold_start=started,
        timeline=tuple(monitor.seconds),
        joules=None if monitor.joules is None else round(monitor.joules, 3),
        energy_source=monitor.energy_source,
        accuracy=measured,
        soak=soaking.summary(at_s, headline) if soaking is not None else None,
        drops=taken.drops,
        interference=found.interference,
        excluded=excluded,
    )


def _notes(taken: Taken, warm_up: WarmUp, stepped_s: float) -> list[str]:
    """Return what a reader of the result should know about its samples and its clock."""
    notes = []
    if not warm_up.steady:
        notes.append(f"warm-up: no steady state after {warm_up.seconds:.1f} s")
    if abs(stepped_s) > STEP_S:
        notes.append(f"the wall clock stepped by {stepped_s:+.1f} s; times are from the monotonic clock")
    if taken.stride > 1:
        notes.append(f"one of {taken.stride} samples is kept, because there were too many")
    return notes


def _subject(model: Model, plan: Plan, scenario: Scenario) -> BenchmarkSubject:
    loop = plan.scenario == "loop"
    return benchmark_subject(
        model.bundle,
        model.variant,
        model.engine,
        model.session.engine,
        model.threads,
        plan.scenario,
        streams=scenario.frames if isinstance(scenario, MultiStream) else 1,
        source=(plan.source or "golden frames") if loop else None,
        policy=plan.policy if loop else None,
    )


def _scenario(model: Model, plan: Plan, opened: ExitStack) -> Scenario:
    if plan.scenario == "loop":
        return LoopScenario(model, plan.source, plan.policy)
    known = read_frames(model.bundle)
    if plan.scenario == "single-stream":
        return Single(model.session, known)

    def another() -> Session:
        return loader.load(model.bundle, model.variant, engine=model.engine, threads=model.threads)

    frames = plan.streams if plan.scenario == "multi-stream" else None
    return opened.enter_context(MultiStream(model.session, another, known, model.threads, frames))


def _measure(
    scenario: Scenario,
    taken: Taken,
    monitor: Monitor,
    plan: Plan,
    soaking: Soaking | None,
    workload: ReferenceWorkload | None,
    progress: Callable[[str, float], None],
) -> bool:
    """Measure until there are enough undisturbed seconds, within the patience. Return False after an interrupt."""
    headline, summary = HEADLINE[plan.scenario], 0.0
    with monitor:

        def going_on() -> bool:
            nonlocal summary
            at_s = time.perf_counter() - monitor.began
            if at_s - summary > 0.25:
                summary = at_s
                progress("soak" if soaking else plan.scenario, at_s / plan.seconds)
            if soaking is not None and soaking.add(at_s, taken.times[headline][-1]):
                return False
            if workload is not None:
                workload.read(at_s)
            if at_s < plan.seconds:
                return True
            return workload is not None and at_s < PATIENCE * plan.seconds and lacks(workload)

        def lacks(stick: ReferenceWorkload) -> bool:
            return any(stick.excluded()) and stick.quiet_s() < plan.seconds - READINGS * EVERY_S

        try:
            scenario.measure(taken, going_on)
        except KeyboardInterrupt:
            return False
    return True


def _last_ms(plan: Plan, headline: list[float], taken: Taken) -> float:
    """Return the duration of the last query, milliseconds."""
    per_query = taken.frames / (len(headline) * taken.stride)
    return headline[-1] * (per_query if plan.scenario == "offline" else 1.0)

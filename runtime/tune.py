"""Find the fastest variant, engine and thread count on this machine, within a limit for the loss of accuracy.

Successive halving: every candidate is timed briefly, the slower half is removed, and the others are timed longer and
interleaved, so that a disturbance affects all of them. Source: Jamieson and Talwalkar, "Non-stochastic Best Arm
Identification and Hyperparameter Optimization" (2016), algorithm 1.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from orilla.devices.cores import loop_threads
from orilla.devices.errors import ConfigError, OrillaError
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime import doctor
from orilla.runtime.bench.interleaved import interleaved, timed, warm_up
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import KnownFrame, read_frames
from orilla.runtime.engines import loader, registry, tuning_cache
from orilla.runtime.engines.session import Session
from orilla.runtime.engines.tuning_cache import Candidate, Tuned
from orilla.runtime.verify import verify

FIRST = 12
"""Inferences of each candidate in the first round. Each further round takes twice as many."""

HOPELESS = 3.0
"""Ratio to the best time from which a candidate is removed after its warm-up."""

AT_ONCE = 6
"""Number of sessions in memory at the same time, from the second round on."""

LAST_S = 4.0
"""Duration of the last round with two or three candidates, seconds."""

ALIKE = 0.01
"""Relative difference to the fastest within which fewer threads and a smaller file win."""


@dataclass(slots=True)
class Trial:
    """One candidate and its outcome."""

    candidate: Candidate
    size: int
    """Size of its model file, bytes."""
    times_ms: list[float] = field(default_factory=list)
    """Times of its last round, milliseconds."""
    rounds: int = 0
    left_out: str | None = None
    """Reason why it was removed before the last round."""

    @property
    def p50_ms(self) -> float | None:
        """Return the median of its last round, milliseconds."""
        return statistics.median(self.times_ms) if self.times_ms else None


def candidates(
    bundle: Bundle, *, max_drop: float, threads: Sequence[int] | None = None, engines: Sequence[str] | None = None
) -> list[Trial]:
    """Return every variant within `max_drop` points, on every available engine, with each thread count.

    Raises:
        ConfigError: An engine is unknown, or no variant within the limit can run here.
    """
    for engine in engines or ():
        registry.known(engine)
    offered = doctor.providers()
    for engine in engines or ():
        if not registry.available(engine, offered):
            msg = f"engine {engine} is not here: {registry.ENGINES[engine].install}"
            raise ConfigError(msg)
    here = [name for name in engines or registry.ENGINES if registry.available(name, offered)]
    if "compiled" in here and (reason := doctor.probe("compiled").reason):
        if engines:
            msg = f"engine compiled does not work here: {reason}"
            raise ConfigError(msg)
        here.remove("compiled")  # it kills the process on some processors
    manifest = bundle.manifest
    counts = sorted(set(threads)) if threads else range(1, loop_threads() + 1)
    found = [
        Trial(Candidate(variant.name, engine, count), manifest.files[variant.file].size)
        for variant in manifest.variants
        if variant.check.drop <= max_drop
        for engine in here
        if loader.fits(variant, engine)
        for count in counts
    ]
    if not found:
        drops = ", ".join(f"{variant.name} {variant.check.drop:+.2f}" for variant in manifest.variants)
        msg = (
            f"{bundle.path.name}: no variant loses at most {max_drop:g} points and has an engine here ({drops}; "
            f"engines: {', '.join(here) or 'none'})"
        )
        raise ConfigError(msg)
    return found


def tune(bundle: Bundle, trials: list[Trial], ends: float, progress: Progress | None = None) -> Trial:
    """Time and verify the candidates, and return the fastest. Each trial records its outcome.

    Args:
        bundle: The bundle.
        trials: The candidates.
        ends: End of the search by `time.perf_counter`. It takes longer only if a single candidate does.
        progress: Receiver of the progress; None for none.

    Raises:
        ConfigError: No candidate computes here what was exported.
    """
    progress = progress or NoProgress()
    known = read_frames(bundle)
    began = time.perf_counter()
    left = _first_round(bundle, trials, known, began + (ends - began) / 2, progress)
    if not left:
        reasons = "; ".join(dict.fromkeys(str(trial.left_out) for trial in trials))
        msg = f"{bundle.path.name}: no candidate runs here: {reasons}"
        raise ConfigError(msg)
    left = _best(left, min(AT_ONCE, max(3, len(left) // 2)))
    with ExitStack() as opened:
        sessions: dict[int, Session] = {}
        for trial in left:
            try:
                sessions[id(trial)] = opened.enter_context(closing(_load(bundle, trial)))
            except OrillaError as error:  # together they may need more memory than each alone
                trial.left_out = str(error)
        left = [trial for trial in left if id(trial) in sessions] or left[:1]
        count = 2 * FIRST
        while len(left) > 3 and time.perf_counter() < ends - LAST_S:
            progress.status(f"{len(left)} left, {count} inferences each")
            _in_turns(left, sessions, known, count, ends - LAST_S)
            left, count = _best(left, max(2, len(left) // 2)), 2 * count
        progress.status(f"{len(left)} left: {', '.join(str(trial.candidate) for trial in left)}")
        if sessions:
            _in_turns(left, sessions, known, 1 << 30, min(time.perf_counter() + LAST_S, ends))
    fastest = min(_p50(trial) for trial in left)
    alike = [trial for trial in left if _p50(trial) <= fastest * (1 + ALIKE)]
    chosen = min(alike, key=lambda trial: (trial.candidate.threads, trial.size, _p50(trial)))
    for trial in left:
        trial.left_out = None if trial is chosen else "in the last round"
    return chosen


def remember(bundle: Bundle, chosen: Trial) -> str:
    """Store a choice for this machine. Return the file's path."""
    machine, cores, packages = tuning_cache.current()
    made = Tuned(chosen.candidate, round(_p50(chosen), 4), cores, packages, machine)
    return str(tuning_cache.store(bundle.manifest, made))


def _first_round(
    bundle: Bundle, trials: list[Trial], known: list[KnownFrame], ends: float, progress: Progress
) -> list[Trial]:
    """Load, verify, time and close each candidate, the default first.

    A hopeless candidate, or one that could not be verified in the remaining time, is removed. At least one is tried.
    """
    ordered = sorted(trials, key=lambda trial: trial.candidate.variant != bundle.manifest.default)
    wrong: dict[tuple[str, str], str | None] = {}
    left: list[Trial] = []
    fastest = float("inf")
    for place, trial in enumerate(ordered, 1):
        progress.status(f"{place} of {len(ordered)}: {trial.candidate}")
        if left and time.perf_counter() > ends:
            trial.left_out = "no time was left to test it"
            continue
        try:
            with closing(_load(bundle, trial)) as session:
                trial.times_ms = timed(session, known, 1) + timed(session, known, 1)
                once = min(trial.times_ms)
                if once > HOPELESS * fastest:
                    trial.left_out = f"more than {HOPELESS:g} times slower than the best"
                    continue
                if left and time.perf_counter() + once * 2 * len(known) / 1e3 > ends:
                    trial.left_out = "no time was left to verify it"
                    continue
                trial.left_out = _prove(bundle, trial.candidate, wrong)
                if trial.left_out is not None:
                    continue
                trial.times_ms, trial.rounds = timed(session, known, FIRST, ends), 1
        except OrillaError as error:
            trial.left_out = str(error)
            continue
        fastest = min(fastest, _p50(trial))
        left.append(trial)
    return left


def _prove(bundle: Bundle, candidate: Candidate, wrong: dict[tuple[str, str], str | None]) -> str | None:
    """Return the reason why this variant may not run on this engine, or None.

    It is determined once for all thread counts.
    """
    key = (candidate.variant, candidate.engine)
    if key not in wrong:
        (verdict,) = verify(bundle, (bundle.manifest.variant(candidate.variant),), engine=candidate.engine)
        failed = next((stage for stage in verdict.stages if not stage.passed), None)
        wrong[key] = verdict.skipped or (f"{failed.name}: {failed.detail}" if failed is not None else None)
    return wrong[key]


def _load(bundle: Bundle, trial: Trial) -> Session:
    candidate = trial.candidate
    variant = bundle.manifest.variant(candidate.variant)
    return loader.load(bundle, variant, engine=candidate.engine, threads=candidate.threads)


def _in_turns(
    trials: list[Trial], sessions: dict[int, Session], known: list[KnownFrame], count: int, ends: float
) -> None:
    """Time all candidates interleaved. Without time left, the known times stay."""
    chosen, inputs = [sessions[id(trial)] for trial in trials], [known] * len(trials)
    warm_up(chosen, inputs, ends)
    if time.perf_counter() >= ends:
        return
    found = interleaved(chosen, inputs, count, ends)
    for trial, times in zip(trials, found, strict=True):
        trial.times_ms, trial.rounds = times, trial.rounds + 1


def _best(trials: list[Trial], count: int) -> list[Trial]:
    """Return the fastest candidates and mark the others as slower."""
    ordered = sorted(trials, key=_p50)
    for trial in ordered[count:]:
        trial.left_out = f"slower, in round {trial.rounds}"
    return ordered[:count]


def _p50(trial: Trial) -> float:
    assert trial.p50_ms is not None
    return trial.p50_ms


def order(trials: Iterable[Trial]) -> list[Trial]:
    """Sort trials for display: the last round first, then by time, those that never ran at the end."""
    return sorted(trials, key=lambda one: (-one.rounds, one.p50_ms if one.p50_ms is not None else float("inf")))

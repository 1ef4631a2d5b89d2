"""Find the fastest variant, engine and thread count on this machine, with at most a given accuracy drop.

The method is successive halving: every candidate is timed briefly, the slower half is removed, and the others are timed
longer and interleaved, so that a disturbance affects all of them. Source: Jamieson and Talwalkar, "Non-stochastic Best
Arm Identification and Hyperparameter Optimization" (2016), algorithm 1.
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
from orilla.runtime.bundle.golden import read_frames
from orilla.runtime.engines import loader, registry, tuning_cache
from orilla.runtime.engines.session import Session
from orilla.runtime.engines.tuning_cache import Candidate, Tuned
from orilla.runtime.verify import verify

FIRST_COUNT = 12
"""Number of inferences of each candidate in the first round. The number doubles in each further round."""

HOPELESS = 3.0
"""A candidate that takes more than this multiple of the best time is removed after two inferences."""

MAX_SESSIONS = 6
"""Maximum number of candidates in memory at the same time, from the second round on."""

FINALISTS = 3
"""Maximum number of candidates in the last round."""

LAST_ROUND_S = 4.0
"""Duration of the last round in seconds."""

SIMILAR = 0.01
"""Candidates that are slower than the fastest by at most this share count as equally fast. Among them, the one with the
fewest threads is chosen, then the one with the smallest file."""


@dataclass(slots=True)
class Trial:
    """A candidate and the outcome of its tests."""

    candidate: Candidate
    size: int
    """Size of the candidate's model file in bytes."""
    times_ms: list[float] = field(default_factory=list)
    """Times of the candidate in its last round, in milliseconds."""
    rounds: int = 0
    """Number of rounds in which the candidate was timed."""
    left_out: str | None = None
    """Reason why the candidate was not chosen. None for the chosen one."""

    @property
    def p50_ms(self) -> float | None:
        """Return the candidate's median time in its last round in milliseconds, or None if it was not timed."""
        return statistics.median(self.times_ms) if self.times_ms else None


def candidates(
    bundle: Bundle, *, max_drop: float, threads: Sequence[int] | None = None, engines: Sequence[str] | None = None
) -> list[Trial]:
    """Return all candidates: each variant whose accuracy drop is small enough, on each engine, with each thread count.

    Args:
        bundle: The bundle.
        max_drop: Maximum accuracy drop of a variant compared with the original model, in percentage points.
        threads: Thread counts. If None, every count from 1 to the default of a camera loop is tried.
        engines: Names of the engines. If None, all available engines are tried.

    Raises:
        ConfigError: An engine is unknown or does not work, or no variant within the limit can run here.
    """
    names = _requested_engines(engines) if engines else _available_engines()
    manifest = bundle.manifest
    counts = sorted(set(threads)) if threads else range(1, loop_threads() + 1)
    trials = [
        Trial(Candidate(variant.name, engine, count), manifest.files[variant.file].size)
        for variant in manifest.variants
        if variant.check.drop <= max_drop
        for engine in names
        if loader.fits(variant, engine)
        for count in counts
    ]
    if not trials:
        drops = ", ".join(f"{variant.name} {variant.check.drop:+.2f}" for variant in manifest.variants)
        msg = (
            f"{bundle.path.name}: no engine here can run a variant with a drop of at most {max_drop:g} points (drops: "
            f"{drops}; engines: {', '.join(names) or 'none'})"
        )
        raise ConfigError(msg)
    return trials


def _requested_engines(names: Sequence[str]) -> list[str]:
    """Return the engines in the user's list. Raise `ConfigError` if one of them does not work on this machine."""
    for name in names:
        registry.known(name)
    providers = doctor.providers()
    for name in names:
        if not registry.available(name, providers):
            msg = f"the engine `{name}` is not available here: {registry.known(name).install}"
            raise ConfigError(msg)
    for name in names:
        if _may_crash(name) and (reason := doctor.probe(name).reason):
            msg = f"the engine `{name}` does not work here: {reason}"
            raise ConfigError(msg)
    return list(names)


def _available_engines() -> list[str]:
    """Return all engines that work on this machine."""
    providers = doctor.providers()
    names = [name for name in registry.ENGINES if registry.available(name, providers)]
    return [name for name in names if not (_may_crash(name) and doctor.probe(name).reason)]


def _may_crash(engine: str) -> bool:
    """Return True if an engine must be tried in a separate process first.

    The engine `compiled` crashes the process on some processors, and a plug-in's engine may also crash it.
    """
    return engine == "compiled" or doctor.is_plugin(engine)


def tune(bundle: Bundle, trials: list[Trial], ends: float, progress: Progress | None = None) -> Trial:
    """Time and verify the candidates, and return the fastest. Each trial records its outcome.

    Args:
        bundle: The bundle.
        trials: The candidates.
        ends: Time at which the search ends, in seconds on the clock of `time.perf_counter`. The search takes longer
            only if testing a single candidate takes longer.
        progress: Receives the progress. If None, no progress is reported.

    Raises:
        ConfigError: No candidate runs and passes the verification on this machine.
    """
    search = _Search(bundle, ends, progress or NoProgress())
    remaining = search.first_round(trials)
    if not remaining:
        reasons = "; ".join(dict.fromkeys(str(trial.left_out) for trial in trials))
        msg = f"{bundle.path.name}: no candidate runs on this machine: {reasons}"
        raise ConfigError(msg)
    remaining = _keep_fastest(remaining, min(MAX_SESSIONS, max(FINALISTS, len(remaining) // 2)))
    return _choose(search.further_rounds(remaining))


def remember(bundle: Bundle, chosen: Trial) -> str:
    """Store a choice for this machine, and return the path of its file."""
    machine, cores, packages = tuning_cache.current()
    tuned = Tuned(chosen.candidate, round(_p50(chosen), 4), cores, packages, machine)
    return str(tuning_cache.store(bundle.manifest, tuned))


def order(trials: Iterable[Trial]) -> list[Trial]:
    """Sort trials for display: by their last round in descending order, then by time. Untimed trials come last."""
    return sorted(trials, key=lambda trial: (-trial.rounds, trial.p50_ms if trial.p50_ms is not None else float("inf")))


class _Search:
    """The rounds of one search.

    Args:
        bundle: The bundle.
        ends: Time at which the search ends, in seconds on the clock of `time.perf_counter`.
        progress: Receives the progress.
    """

    def __init__(self, bundle: Bundle, ends: float, progress: Progress) -> None:
        self._bundle, self._ends, self._progress = bundle, ends, progress
        self._frames = read_frames(bundle)
        self._verified: dict[tuple[str, str], str | None] = {}

    def first_round(self, trials: Sequence[Trial]) -> list[Trial]:
        """Load, time, verify and close each candidate. Return those that remain in the search.

        The default variant is tried first. The round takes at most half of the search's time, but tries at least one
        candidate.
        """
        default = self._bundle.manifest.default
        ordered = sorted(trials, key=lambda trial: trial.candidate.variant != default)
        now = time.perf_counter()
        ends = now + (self._ends - now) / 2
        remaining: list[Trial] = []
        for number, trial in enumerate(ordered, 1):
            self._progress.status(f"{number} of {len(ordered)}: {trial.candidate}")
            if remaining and time.perf_counter() > ends:
                trial.left_out = "no time was left to test it"
                continue
            try:
                trial.left_out = self._test(trial, remaining, ends)
            except OrillaError as error:
                trial.left_out = str(error)
            if trial.left_out is None:
                remaining.append(trial)
        return remaining

    def _test(self, trial: Trial, remaining: Sequence[Trial], ends: float) -> str | None:
        """Time and verify one candidate. Return the reason why it must be removed, or None."""
        best_ms = min(map(_p50, remaining), default=float("inf"))
        with closing(self._load(trial)) as session:
            trial.times_ms = timed(session, self._frames, 1) + timed(session, self._frames, 1)
            time_ms = min(trial.times_ms)
            if time_ms > HOPELESS * best_ms:
                return f"more than {HOPELESS:g} times slower than the best"
            if remaining and time.perf_counter() + time_ms * 2 * len(self._frames) / 1e3 > ends:
                return "no time was left to verify it"
            reason = self._difference(trial.candidate)
            if reason is None:
                trial.times_ms, trial.rounds = timed(session, self._frames, FIRST_COUNT, ends), 1
            return reason

    def _difference(self, candidate: Candidate) -> str | None:
        """Describe the difference between the outputs on this engine and those at export, or return None if they agree.

        The result is computed once and used for all thread counts.
        """
        key = (candidate.variant, candidate.engine)
        if key not in self._verified:
            variant = self._bundle.manifest.variant(candidate.variant)
            (verdict,) = verify(self._bundle, (variant,), engine=candidate.engine)
            failed = next((stage for stage in verdict.stages if not stage.passed), None)
            self._verified[key] = verdict.skipped or (f"{failed.name}: {failed.detail}" if failed is not None else None)
        return self._verified[key]

    def further_rounds(self, trials: list[Trial]) -> list[Trial]:
        """Time the candidates in turn, and remove the slower half after each round. Return the finalists."""
        with ExitStack() as opened:
            sessions: dict[int, Session] = {}
            for trial in trials:
                try:
                    sessions[id(trial)] = opened.enter_context(closing(self._load(trial)))
                except OrillaError as error:  # All sessions together may need more memory than is available.
                    trial.left_out = str(error)
            remaining = [trial for trial in trials if id(trial) in sessions] or trials[:1]
            count = 2 * FIRST_COUNT
            while len(remaining) > FINALISTS and time.perf_counter() < self._ends - LAST_ROUND_S:
                self._progress.status(f"{len(remaining)} left, {count} inferences each")
                self._time_interleaved(remaining, sessions, count, self._ends - LAST_ROUND_S)
                remaining, count = _keep_fastest(remaining, max(2, len(remaining) // 2)), 2 * count
            self._progress.status(f"{len(remaining)} left: {', '.join(str(trial.candidate) for trial in remaining)}")
            if sessions:
                ends = min(time.perf_counter() + LAST_ROUND_S, self._ends)
                self._time_interleaved(remaining, sessions, 1 << 30, ends)
        return remaining

    def _time_interleaved(self, trials: Sequence[Trial], sessions: dict[int, Session], count: int, ends: float) -> None:
        """Time all candidates in turn. If no time is left after the warm-up, the previous times are kept."""
        chosen, inputs = [sessions[id(trial)] for trial in trials], [self._frames] * len(trials)
        warm_up(chosen, inputs, ends)
        if time.perf_counter() >= ends:
            return
        for trial, times_ms in zip(trials, interleaved(chosen, inputs, count, ends), strict=True):
            trial.times_ms, trial.rounds = times_ms, trial.rounds + 1

    def _load(self, trial: Trial) -> Session:
        candidate = trial.candidate
        variant = self._bundle.manifest.variant(candidate.variant)
        return loader.load(self._bundle, variant, engine=candidate.engine, threads=candidate.threads)


def _keep_fastest(trials: list[Trial], count: int) -> list[Trial]:
    """Return the fastest candidates, and mark the others as slower."""
    ordered = sorted(trials, key=_p50)
    for trial in ordered[count:]:
        trial.left_out = f"slower in round {trial.rounds}"
    return ordered[:count]


def _choose(finalists: list[Trial]) -> Trial:
    """Return the choice, and mark the other finalists."""
    fastest_ms = min(map(_p50, finalists))
    similar = [trial for trial in finalists if _p50(trial) <= fastest_ms * (1 + SIMILAR)]
    chosen = min(similar, key=lambda trial: (trial.candidate.threads, trial.size, _p50(trial)))
    for trial in finalists:
        trial.left_out = None if trial is chosen else "not chosen in the last round"
    return chosen


def _p50(trial: Trial) -> float:
    assert trial.p50_ms is not None
    return trial.p50_ms

"""Whether a bundle keeps its budget here: each figure measured, held against its limits, with the reason where not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from orilla.devices.budget import RATIOS, TIMES, Budget, Range
from orilla.devices.cores import loop_threads
from orilla.devices.detect import Machine, detect
from orilla.devices.errors import ConfigError
from orilla.devices.spec import Catalog, catalog
from orilla.runtime.bench.accuracy import accuracy, of_export
from orilla.runtime.bench.cold import cold
from orilla.runtime.bench.result import Cold, Result
from orilla.runtime.bench.samples import Percentile, Summary, Z, least_samples, summarise
from orilla.runtime.bench.terminal import figure
from orilla.runtime.bench.turns import EACH, in_turns, warm_up
from orilla.runtime.bundle import Bundle
from orilla.runtime.datasets import Dataset
from orilla.runtime.datasets.raw import prepared, raw_of
from orilla.runtime.engines import registry
from orilla.runtime.feed import Feed
from orilla.runtime.golden import KnownFrame, read_frames
from orilla.runtime.manifest import Variant
from orilla.runtime.measures import Truth, measure, target_of, truth_of
from orilla.runtime.session import Session
from orilla.runtime.tasks.decide import agreeing
from orilla.runtime.tasks.task import FIRST_METRIC

SECONDS = 3.0
"""Of a measurement of times; twice and four times as long where it has to be repeated."""

AGAIN = 2
"""Times that what breaks a budget of time is measured again, before it is believed."""

FULL = "_fp32"
"""In the names of full-precision variants."""

MOST_S = 60.0
"""What a measurement may take to get the samples that its percentiles need."""

Status = Literal["met", "exceeded", "implausible", "elsewhere"]
"""`implausible`: better than the least that is believed; `elsewhere`: a budget of another device."""


class Judged(msgspec.Struct, frozen=True):
    """One limit of a budget."""

    bundle: str
    variant: str
    limit: str
    """The budget's key."""
    value: float | None
    told: str
    """The figure with its unit, interval and where it is from."""
    allowed: str
    status: Status
    reason: str | None
    """Why it is not met, in one line."""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.status in ("met", "elsewhere")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a budget is about, found in its bundle."""

    budget: Budget
    bundle: Bundle
    variant: Variant
    engine: str
    threads: int
    reference: tuple[Bundle, Variant] | None
    """Where the full-precision variant is."""


def subject_of(budget: Budget, bundle: Bundle) -> Subject:
    """Finds variant and reference.

    Raises:
        ConfigError: a variant that isn't there, an engine that does not take it, or a ratio to what isn't there.
        BundleError: no such reference.
    """
    variant = registry.choose(bundle, budget.variant, budget.engine)
    reference = _reference(budget, bundle, variant)
    asked = [key for key in (*RATIOS, "size_ratio") if getattr(budget, key) is not None]
    if asked and reference is None:
        raise ConfigError(
            f"{asked[0]}: {bundle.path.name} has no full-precision variant to compare with; give reference, a bundle "
            "that has one (orilla export ... --recipes litert_fp32)"
        )
    return Subject(
        budget, bundle, variant, budget.engine or variant.engine, budget.threads or loop_threads(), reference
    )


def _reference(budget: Budget, bundle: Bundle, variant: Variant) -> tuple[Bundle, Variant] | None:
    found = Bundle.open(budget.reference) if budget.reference is not None else bundle
    whole = [one for one in found.manifest.variants if one.full_precision]
    if budget.reference is not None and not whole:
        raise ConfigError(f"reference {budget.reference} has no full-precision variant (litert_fp32, onnx_fp32)")
    same = [one for one in whole if one.engine == variant.engine]
    chosen = next(iter(same or whole), None)
    return None if chosen is None else (found, chosen)


def holds_here(budget: Budget, machine: Machine, known: Catalog | None = None) -> bool:
    """Whether the budget's device is this machine: by its board's name, or by its architecture where the catalogue has
    no board of that name."""
    if budget.device is None:
        return True
    known = known or catalog()
    spec = known.devices[budget.device]
    if spec.match:
        return known.of_board(machine.board) == budget.device
    return spec.arch == machine.arch


@dataclass(frozen=True)
class Timed:
    """Times of the variant, and in turns with them those of the full-precision one."""

    times_ms: list[float]
    reference_ms: list[float] | None

    @property
    def summary(self) -> Summary:
        """Of the variant's times."""
        return summarise(self.times_ms)

    @property
    def reference(self) -> Summary | None:
        """Of the full-precision variant's."""
        return None if self.reference_ms is None else summarise(self.reference_ms)


class Measurement:
    """What is measured for a subject, each thing when it is first asked for."""

    def __init__(
        self,
        subject: Subject,
        *,
        dataset: Dataset | None = None,
        seconds: float = SECONDS,
        step: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.subject = subject
        self._dataset, self._seconds, self._step = dataset, seconds, step
        self._timed: Timed | None = None
        self._cold: Cold | None = None
        self._answers: tuple[float, float, str] | None = None

    def timed(self) -> Timed:
        """The last measurement of times."""
        return self._timed or self._time(self._seconds)

    def again(self, keys: Collection[str], turn: int) -> None:
        """Forgets what the limits `keys` are held against, and measures it anew, longer with each turn."""
        if "start_ms" in keys:
            self._cold = None
        if any(key != "start_ms" for key in keys):
            self._time(self._seconds * 2**turn)

    def _time(self, seconds: float) -> Timed:
        subject = self.subject
        self._step(f"{subject.bundle.path.stem}: times, {seconds:g} s")
        needed = _samples_for(subject.budget)
        with ExitStack() as opened:
            first = opened.enter_context(closing(self.load()))
            sessions, known = [first], [read_frames(subject.bundle)]
            if subject.reference is not None and any(getattr(subject.budget, key) is not None for key in RATIOS):
                sessions.append(opened.enter_context(closing(self.load_reference())))
                known.append(self._inputs_of_reference(known[0]))
            warm_up(sessions, known)
            in_turns(sessions, known, 1 << 30, time.perf_counter() + min(1.0, seconds / 3))
            found: list[list[float]] = [[] for _ in sessions]
            began = time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds or (len(found[0]) < needed and passed < MOST_S):
                more = in_turns(sessions, known, EACH, float("inf"))  # as many of each, however slow it is
                for times, new in zip(found, more, strict=True):
                    times += new
        self._timed = Timed(found[0], found[1] if len(found) > 1 else None)
        return self._timed

    def _inputs_of_reference(self, known: list[KnownFrame]) -> list[KnownFrame]:
        """The reference's own golden frames; the same pictures where both bundles prepare alike."""
        assert self.subject.reference is not None
        bundle = self.subject.reference[0]
        if bundle is self.subject.bundle or bundle.manifest.preprocess == self.subject.bundle.manifest.preprocess:
            return known
        return read_frames(bundle)

    def load(self) -> Session:
        """A session of the variant."""
        subject = self.subject
        return registry.load(subject.bundle, subject.variant, engine=subject.engine, threads=subject.threads)

    def load_reference(self) -> Session:
        """A session of the full-precision variant, on the same engine where that takes it."""
        assert self.subject.reference is not None
        bundle, variant = self.subject.reference
        engine = self.subject.engine if registry.fits(variant, self.subject.engine) else variant.engine
        return registry.load(bundle, variant, engine=engine, threads=self.subject.threads)

    def cold(self) -> Cold:
        """Start-up and memory, in a process of its own."""
        if self._cold is None:
            subject = self.subject
            self._step(f"{subject.bundle.path.stem}: start-up and memory")
            self._cold = cold(str(subject.bundle.path.resolve()), subject.variant.name, subject.engine, subject.threads)
        return self._cold

    def answers(self) -> tuple[float, float, str]:
        """Points lost, share of equal decisions, and where both are from.

        With data and a full-precision variant both are run on it; else these are the figures of the export.
        """
        if self._answers is None:
            check = self.subject.variant.check
            self._answers = check.drop, check.agreement, "at export"
            if self._dataset is not None:
                self._answers = self._measure_answers(self._dataset)
        return self._answers

    def _measure_answers(self, dataset: Dataset) -> tuple[float, float, str]:
        subject, manifest = self.subject, self.subject.bundle.manifest
        if subject.reference is None:
            return self._against_export(dataset)
        split, metric = dataset.checked, FIRST_METRIC[manifest.task]
        target, names = target_of(dataset, manifest.task, manifest.labels), dataset.names(split)
        answered: list[NDArray[np.float32]] = []
        same: list[float] = []

        def first(feed: Feed, whole: Session) -> Iterator[tuple[Truth, NDArray[np.float32]]]:
            for place in range(len(names)):
                self._tell(place, len(names))
                sample = dataset.load(split, place)
                answered.append(whole.run(prepared(sample, feed))[0])
                yield truth_of(sample), answered[-1]

        def second(feed: Feed, small: Session) -> Iterator[tuple[Truth, NDArray[np.float32]]]:
            for place, other in enumerate(answered):
                self._tell(place, len(names))
                sample = dataset.load(split, place)
                raw, output = raw_of(sample), small.run(prepared(sample, feed))[0]
                size = (raw.shape[0], raw.shape[1]) if isinstance(raw, np.ndarray) and raw.ndim == 3 else None
                same.append(float(np.mean(agreeing(manifest.task, output, other, size))))
                yield truth_of(sample), output

        with closing(self.load_reference()) as whole:
            theirs = measure(target, first(subject.reference[0].feed(), whole)).metrics()[metric]
        with closing(self.load()) as small:
            ours = measure(target, second(subject.bundle.feed(), small)).metrics()[metric]
        where = f"{len(names)} of {dataset.source.name} {split}"
        return 100 * (theirs - ours), float(np.mean(same)), f"{where}, {metric} {ours:.4f} against {theirs:.4f}"

    def _against_export(self, dataset: Dataset) -> tuple[float, float, str]:
        """The drop that is measured on the export's own data, below what the original had there."""
        subject, check = self.subject, self.subject.variant.check
        if not of_export(subject.bundle.manifest, dataset):
            raise ConfigError(
                f"{subject.bundle.path.name} has no full-precision variant to compare with on {dataset.source.name}, "
                "which is not the data of its export: give reference"
            )
        with closing(self.load()) as session:
            found = accuracy(subject.bundle, session, dataset)
        assert found.drop is not None
        where = f"{found.count} of {found.data} {found.split}, {found.metric} {found.value:.4f}; agreement at export"
        return found.drop, check.agreement, where

    def _tell(self, place: int, count: int) -> None:
        if place % 50 == 0:
            self._step(f"{self.subject.bundle.path.stem}: accuracy, {place} of {count}")


def judge(measurement: Measurement, *, machine: Machine | None = None, known: Catalog | None = None) -> list[Judged]:
    """Holds every limit of a budget against what is measured; a time that breaks its limit is measured again first."""
    subject = measurement.subject
    budget, machine = subject.budget, machine or detect()
    if not holds_here(budget, machine, known):
        told = f"not measured: this is no {budget.device}"
        names = subject.bundle.path.stem, subject.variant.name
        return [
            Judged(*names, key, None, told, _allowed(key, limit), "elsewhere", None)
            for key, limit in budget.limits().items()
        ]
    found = {key: _judge(measurement, key, limit) for key, limit in budget.limits().items()}
    for turn in range(1, AGAIN + 1):
        broken = [key for key, one in found.items() if not one.passed and key in (*TIMES, *RATIOS)]
        if not broken:
            break
        measurement.again(broken, turn)
        for key in broken:
            one = _judge(measurement, key, budget.limits()[key])
            reason = f"{one.reason} (measured {turn + 1} times)" if one.reason else None
            found[key] = msgspec.structs.replace(one, reason=reason)
    return list(found.values())


def judge_result(budget: Budget, result: Result, others: Sequence[Result] = ()) -> list[Judged]:
    """Holds a result that is there to a budget, as far as it tells; nothing is measured.

    Args:
        others: among which a run of the full-precision variant on the same machine is looked for.
    """
    subject = result.subject
    if budget.bundle != subject.bundle or subject.scenario != "single-stream":
        return []
    # A budget without a variant is of the bundle's default, which is never the full-precision one beside a smaller one.
    if subject.variant != budget.variant if budget.variant is not None else FULL in subject.variant:
        return []
    if budget.engine not in (None, subject.engine) or budget.threads not in (None, subject.threads):
        return []
    if budget.device is not None and not _is_device(result, budget.device):
        return []
    whole = next((one for one in others if _compares_with(result, one)), None)
    found = []
    for key, limit in budget.limits().items():
        if (figures := _figure_of(result, whole, key)) is not None:
            value, told = figures
            found.append(_held(subject.bundle, subject.variant, key, value, told, limit))
    return found


def _is_device(result: Result, device: str) -> bool:
    spec = catalog().devices[device]
    return (
        result.host.description.startswith(spec.match) if spec.match else f", {spec.arch}, " in result.host.description
    )


def _compares_with(result: Result, other: Result) -> bool:
    same = [
        (one.subject.bundle, one.subject.scenario, one.subject.engine, one.subject.threads, one.host.identity)
        for one in (result, other)
    ]
    return other is not result and FULL in other.subject.variant and same[0] == same[1]


def _figure_of(result: Result, whole: Result | None, key: str) -> tuple[float, str] | None:
    """A figure that a result has, and how it is told."""
    if key in ("start_ms", "memory_mib"):
        untold = result.cold is None or (key == "memory_mib" and result.cold.memory_mib is None)
        return None if untold or result.cold is None else _cold_figure(result.cold, key)
    if key == "max_drop":
        found = result.accuracy
        if found is None or found.drop is None:
            return None
        return found.drop, f"{found.drop:+.2f} points ({found.count} of {found.data} {found.split})"
    if key not in (*TIMES, *RATIOS):
        return None
    one = result.main.at(percent := float(key[1:].partition("_")[0]))
    other = whole.main.at(percent) if whole is not None else None
    if one is None or (key in RATIOS and other is None):
        return None
    if key not in RATIOS or other is None or whole is None:
        return one.ms, f"{figure(one.ms)} ms{_span(one.low_ms, one.high_ms)}"
    return _ratio_figure(one, other, whole.subject.variant)


def _judge(measurement: Measurement, key: str, limit: Range) -> Judged:
    subject = measurement.subject
    value, told = _figure(measurement, key)
    return _held(subject.bundle.path.stem, subject.variant.name, key, value, told, limit)


def _held(bundle: str, variant: str, key: str, value: float, told: str, limit: Range) -> Judged:
    """A figure against its limit."""
    if math.isnan(value) or value > limit.most:
        status: Status = "exceeded"
    elif value < limit.least:
        status = "exceeded" if key.startswith("min_") else "implausible"
    else:
        status = "met"
    return Judged(
        bundle,
        variant,
        key,
        value,
        told,
        _allowed(key, limit),
        status,
        _reason(bundle, variant, key, told, limit, status),
    )


def _allowed(key: str, limit: Range) -> str:
    if key.startswith("min_"):
        return f"at least {limit.least:g}"
    return f"{limit.least:g} to {limit.most:g}" if limit.least > 0 else f"at most {limit.most:g}"


def _reason(bundle: str, variant: str, key: str, told: str, limit: Range, status: Status) -> str | None:
    if status == "met":
        return None
    name = f"{bundle} {variant}: {key} is {told}"
    if status == "implausible":
        return f"{name}, below {limit.least:g}: too good to be true; did the whole model run?"
    return f"{name}, {'at least' if key.startswith('min_') else 'at most'} {_edge(key, limit):g} is allowed"


def _edge(key: str, limit: Range) -> float:
    return limit.least if key.startswith("min_") else limit.most


def _figure(measurement: Measurement, key: str) -> tuple[float, str]:
    """A figure, and how it is told."""
    subject = measurement.subject
    if key in ("start_ms", "memory_mib"):
        return _cold_figure(measurement.cold(), key)
    if key in ("max_drop", "min_agreement"):
        drop, agreement, where = measurement.answers()
        if key == "max_drop":
            return drop, f"{drop:+.2f} points ({where})"
        return agreement, f"{agreement:.4f} ({where})"
    size = subject.bundle.manifest.files[subject.variant.file].size
    if key == "max_mib":
        return size / 2**20, f"{size / 2**20:.2f} MiB"
    if key == "size_ratio":
        assert subject.reference is not None
        bundle, variant = subject.reference
        ratio = size / bundle.manifest.files[variant.file].size
        return ratio, f"{ratio:.3f} of {variant.name}'s"
    percent = float(key[1:].partition("_")[0])
    return _time_figure(measurement, percent, relative=key.endswith("_ratio"))


def _time_figure(measurement: Measurement, percent: float, *, relative: bool) -> tuple[float, str]:
    timed = measurement.timed()
    one = timed.summary.at(percent)
    if one is None:
        raise ConfigError(
            f"{measurement.subject.bundle.path.stem}: p{percent:g} takes {least_samples(percent)} samples, "
            f"{len(timed.times_ms)} were taken in {MOST_S:g} s: hold this model to a lower percentile"
        )
    if not relative:
        return one.ms, f"{figure(one.ms)} ms{_span(one.low_ms, one.high_ms)}"
    assert timed.reference is not None
    assert measurement.subject.reference is not None
    other = timed.reference.at(percent)
    if other is None:
        raise ConfigError(
            f"{measurement.subject.bundle.path.stem}: p{percent:g} takes {least_samples(percent)} samples, the full-"
            f"precision variant gave {timed.reference.count} in {MOST_S:g} s: hold this model to a lower percentile"
        )
    return _ratio_figure(one, other, measurement.subject.reference[1].name)


def _cold_figure(found: Cold, key: str) -> tuple[float, str]:
    if key == "start_ms":
        return found.start_ms, f"{found.start_ms:.0f} ms"
    if found.memory_mib is None:
        raise ConfigError("memory_mib: this machine does not tell what a process takes")
    return found.memory_mib, f"{found.memory_mib:.1f} MiB"


def _ratio_figure(one: Percentile, other: Percentile, name: str) -> tuple[float, str]:
    ratio, low, high = ratio_of(one, other)
    return ratio, f"{ratio:.3f}{_span(low, high)} of {name}'s {figure(other.ms)} ms"


def ratio_of(one: Percentile, other: Percentile) -> tuple[float, float | None, float | None]:
    """A ratio of percentiles with its 95 % interval, from the errors of both."""
    ratio, errors = one.ms / other.ms, (one.error, other.error)
    if errors[0] is None or errors[1] is None:
        return ratio, None, None
    spread = math.exp(Z * math.hypot(errors[0], errors[1]))
    return ratio, ratio / spread, ratio * spread


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({figure(low)}–{figure(high)})"


def _samples_for(budget: Budget) -> int:
    """What the percentiles of a budget take."""
    asked = [key for key in budget.limits() if key[0] == "p" and key.partition("_")[2] in ("ms", "ratio")]
    return max((least_samples(float(key[1:].partition("_")[0])) for key in asked), default=1)


def applying(budgets: list[Budget], bundle: Bundle, where: Path) -> list[Budget]:
    """The budgets of a bundle, by its name; raises `ConfigError` where there is none."""
    name = bundle.path.stem
    found = [budget for budget in budgets if budget.bundle == name]
    if not found:
        names = ", ".join(dict.fromkeys(budget.bundle for budget in budgets))
        raise ConfigError(f"{where} has no budget for {name} (it has {names})")
    return found

"""Measure the figures of a budget, each when it is first needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.budget import RATIOS, Budget
from orilla.devices.cores import loop_threads
from orilla.devices.errors import ConfigError
from orilla.runtime.bench.cold_start import measure_cold_start
from orilla.runtime.bench.interleaved import EACH, interleaved, warm_up
from orilla.runtime.bench.result import ColdStart
from orilla.runtime.bench.samples import Summary, min_samples, summarise
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import KnownFrame, read_frames
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.session import Session
from orilla.runtime.evaluation.accuracy import accuracy, of_export
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.raw import prepared, raw_of
from orilla.runtime.evaluation.metrics import GroundTruth, measure, target_of, truth_of
from orilla.runtime.preprocessing.preprocessor import InputPreprocessor
from orilla.runtime.tasks.decide import agreeing
from orilla.runtime.tasks.task import FIRST_METRIC

MIN_S = 0.1
SECONDS = 3.0
"""Duration of a time measurement, seconds. A repetition takes twice, then four times as long."""

MAX_S = 60.0
"""Maximum duration to get the samples that the percentiles need, seconds."""


@dataclass(frozen=True, slots=True)
class BudgetTarget:
    """The variant of a budget, found in its bundle."""

    budget: Budget
    bundle: Bundle
    variant: Variant
    engine: str
    threads: int
    reference: tuple[Bundle, Variant] | None
    """Bundle and name of the full-precision variant."""


def budget_target(budget: Budget, bundle: Bundle) -> BudgetTarget:
    """Find the variant and the reference of a budget.

    Raises:
        ConfigError: The variant does not exist, the engine does not run it, or a ratio has no reference.
        BundleError: The reference bundle cannot be read.
    """
    variant = loader.choose(bundle, budget.variant, budget.engine)
    reference = _reference(budget, bundle, variant)
    asked = [key for key in (*RATIOS, "size_ratio") if getattr(budget, key) is not None]
    if asked and reference is None:
        msg = (
            f"{asked[0]}: {bundle.path.name} has no full-precision variant to compare with; give reference, a bundle "
            "that has one (orilla export ... --recipes litert_fp32)"
        )
        raise ConfigError(msg)
    return BudgetTarget(
        budget, bundle, variant, budget.engine or variant.engine, budget.threads or loop_threads(), reference
    )


def _reference(budget: Budget, bundle: Bundle, variant: Variant) -> tuple[Bundle, Variant] | None:
    found = Bundle.open(budget.reference) if budget.reference is not None else bundle
    whole = [one for one in found.manifest.variants if one.full_precision]
    if budget.reference is not None and not whole:
        msg = f"reference {budget.reference} has no full-precision variant (litert_fp32, onnx_fp32)"
        raise ConfigError(msg)
    same = [one for one in whole if one.engine == variant.engine]
    chosen = next(iter(same or whole), None)
    return None if chosen is None else (found, chosen)


@dataclass(frozen=True)
class Timed:
    """Times of the variant, interleaved with those of the full-precision variant."""

    times_ms: list[float]
    reference_ms: list[float] | None

    @property
    def summary(self) -> Summary:
        """Return the summary of the variant's times."""
        return summarise(self.times_ms)

    @property
    def reference(self) -> Summary | None:
        """Return the summary of the full-precision variant's times."""
        return None if self.reference_ms is None else summarise(self.reference_ms)


@dataclass(frozen=True, slots=True)
class Answers:
    """Accuracy of a variant compared with the original model."""

    drop: float
    """Loss of the primary metric, points."""
    agreement: float
    drop_from: str
    """Data of the drop."""
    agreement_from: str


class Measurement:
    """Figures of a budget target, each measured when it is first needed."""

    def __init__(
        self,
        subject: BudgetTarget,
        *,
        dataset: Dataset | None = None,
        seconds: float = SECONDS,
        step: Callable[[str], None] = lambda _line: None,
    ) -> None:
        self.subject = subject
        self._dataset, self._seconds, self._step = dataset, seconds, step
        self._timed: Timed | None = None
        self._cold: ColdStart | None = None
        self._answers: Answers | None = None

    def timed(self) -> Timed:
        """Return the latest time measurement."""
        return self._timed or self._time(self._seconds)

    def again(self, keys: Collection[str], turn: int) -> None:
        """Discard the measurements of the limits `keys`, and repeat them with a longer duration each turn."""
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
            interleaved(sessions, known, 1 << 30, time.perf_counter() + min(1.0, seconds / 3))
            found: list[list[float]] = [[] for _ in sessions]
            began = time.perf_counter()
            while (passed := time.perf_counter() - began) < seconds or (len(found[0]) < needed and passed < MAX_S):
                more = interleaved(sessions, known, EACH, float("inf"))  # equally many of each, however slow it is
                for times, new in zip(found, more, strict=True):
                    times += new
        self._timed = Timed(found[0], found[1] if len(found) > 1 else None)
        return self._timed

    def _inputs_of_reference(self, known: list[KnownFrame]) -> list[KnownFrame]:
        """Return the reference's own golden frames, or the same images if both bundles preprocess alike."""
        assert self.subject.reference is not None
        bundle = self.subject.reference[0]
        if bundle is self.subject.bundle or bundle.manifest.preprocess == self.subject.bundle.manifest.preprocess:
            return known
        return read_frames(bundle)

    def load(self) -> Session:
        """Load the variant."""
        subject = self.subject
        return loader.load(subject.bundle, subject.variant, engine=subject.engine, threads=subject.threads)

    def load_reference(self) -> Session:
        """Load the full-precision variant, on the same engine if possible."""
        assert self.subject.reference is not None
        bundle, variant = self.subject.reference
        engine = self.subject.engine if loader.fits(variant, self.subject.engine) else variant.engine
        return loader.load(bundle, variant, engine=engine, threads=self.subject.threads)

    def measure_cold_start(self) -> ColdStart:
        """Return start-up time and memory, measured in a new process."""
        if self._cold is None:
            subject = self.subject
            self._step(f"{subject.bundle.path.stem}: start-up and memory")
            self._cold = measure_cold_start(
                str(subject.bundle.path.resolve()), subject.variant.name, subject.engine, subject.threads
            )
        return self._cold

    def answers(self) -> Answers:
        """Return the drop and the share of equal decisions.

        With data and a full-precision variant, both run on the data. Otherwise the figures of the export are returned.
        """
        if self._answers is None:
            check = self.subject.variant.check
            self._answers = Answers(check.drop, check.agreement, "at export", "at export")
            if self._dataset is not None:
                self._answers = self._measure_answers(self._dataset)
        return self._answers

    def _measure_answers(self, dataset: Dataset) -> Answers:
        subject, manifest = self.subject, self.subject.bundle.manifest
        if subject.reference is None:
            return self._against_export(dataset)
        split, metric = dataset.checked, FIRST_METRIC[manifest.task]
        target, names = target_of(dataset, manifest.task, manifest.labels), dataset.names(split)
        answered: list[NDArray[np.float32]] = []
        same: list[float] = []

        def first(preprocessor: InputPreprocessor, whole: Session) -> Iterator[tuple[GroundTruth, NDArray[np.float32]]]:
            for place in range(len(names)):
                self._tell(place, len(names))
                sample = dataset.load(split, place)
                answered.append(whole.run(prepared(sample, preprocessor))[0])
                yield truth_of(sample), answered[-1]

        def second(
            preprocessor: InputPreprocessor, small: Session
        ) -> Iterator[tuple[GroundTruth, NDArray[np.float32]]]:
            for place, other in enumerate(answered):
                self._tell(place, len(names))
                sample = dataset.load(split, place)
                raw, output = raw_of(sample), small.run(prepared(sample, preprocessor))[0]
                size = (raw.shape[0], raw.shape[1]) if isinstance(raw, np.ndarray) and raw.ndim == 3 else None
                same.append(float(np.mean(agreeing(manifest.task, output, other, size))))
                yield truth_of(sample), output

        with closing(self.load_reference()) as whole:
            theirs = measure(target, first(subject.reference[0].preprocessor(), whole)).metrics()[metric]
        with closing(self.load()) as small:
            ours = measure(target, second(subject.bundle.preprocessor(), small)).metrics()[metric]
        where = f"{len(names)} of {dataset.source.name} {split}"
        return Answers(
            100 * (theirs - ours), float(np.mean(same)), f"{where}, {metric} {ours:.4f} against {theirs:.4f}", where
        )

    def _against_export(self, dataset: Dataset) -> Answers:
        """Return the drop on the export's own data, relative to the original's metric there."""
        subject, check = self.subject, self.subject.variant.check
        if not of_export(subject.bundle.manifest, dataset):
            msg = (
                f"{subject.bundle.path.name} has no full-precision variant to compare with on {dataset.source.name}, "
                "which is not the data of its export: give reference"
            )
            raise ConfigError(msg)
        with closing(self.load()) as session:
            found = accuracy(subject.bundle, session, dataset)
        assert found.drop is not None
        where = f"{found.count} of {found.data} {found.split}, {found.metric} {found.value:.4f}"
        return Answers(found.drop, check.agreement, where, "at export")

    def _tell(self, place: int, count: int) -> None:
        if place % 50 == 0:
            self._step(f"{self.subject.bundle.path.stem}: accuracy, {place} of {count}")


def _samples_for(budget: Budget) -> int:
    """Return the number of samples that a budget's percentiles need."""
    asked = [key for key in budget.limits() if key[0] == "p" and key.partition("_")[2] in ("ms", "ratio")]
    return max((min_samples(float(key[1:].partition("_")[0])) for key in asked), default=1)

"""The measurements that a budget needs. Each measurement runs when its result is first requested."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orilla.devices.budget import RATIOS, Budget
from orilla.devices.cores import loop_threads
from orilla.devices.errors import ConfigError
from orilla.devices.progress import NoProgress, Progress
from orilla.runtime.bench.budgets.limits import percent_of
from orilla.runtime.bench.cold_start import measure_cold_start
from orilla.runtime.bench.interleaved import EACH, interleaved, warm_up
from orilla.runtime.bench.result import ColdStart
from orilla.runtime.bench.samples import Summary, min_samples, summarise
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.golden import KnownFrame, read_frames
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.engines.session import Session
from orilla.runtime.evaluation.accuracy import accuracy, is_export_data
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.raw import prepared, raw_of
from orilla.runtime.evaluation.targets import target_of, truth_of
from orilla.runtime.preprocessing.input_kind import InputPreprocessor, frame_size
from orilla.runtime.preprocessing.tensor_spec import Outputs
from orilla.runtime.tasks.registry import task_of
from orilla.runtime.tasks.task import GroundTruth

MIN_S = 0.1
SECONDS = 3.0
"""Duration in seconds for which inferences are timed. If a measurement is repeated, the first repetition takes twice as
long, and the second four times as long."""

MAX_S = 60.0
"""Maximum duration in seconds for which inferences are timed if a percentile needs more samples."""

FOREVER = float("inf")

UNLIMITED = 1 << 30
"""A number of inferences so large that the time limit always ends the measurement first."""

REPORT_EVERY = 50
"""Number of samples between two progress reports."""

Output = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BudgetTarget:
    """A budget with the bundle, variant and engine that it applies to."""

    budget: Budget
    bundle: Bundle
    variant: Variant
    engine: str
    threads: int
    reference: tuple[Bundle, Variant] | None
    """Bundle with the full-precision variant, and the variant. None if there is no such variant."""


def budget_target(budget: Budget, bundle: Bundle) -> BudgetTarget:
    """Return the target of a budget: the variant, its engine, and the full-precision variant to compare with.

    Raises:
        ConfigError: The variant does not exist, the engine cannot run it, or the budget limits a ratio and there is no
            full-precision variant.
        BundleError: The reference bundle cannot be opened.
    """
    variant = loader.choose(bundle, budget.variant, budget.engine)
    reference = _reference(budget, bundle, variant)
    ratios = [key for key in (*RATIOS, "size_ratio") if key in budget.limits()]
    if ratios and reference is None:
        msg = (
            f"{ratios[0]}: {bundle.path.name} has no full-precision variant to compare with; set `reference` to a "
            "bundle that has one (orilla export ... --recipes litert_fp32)"
        )
        raise ConfigError(msg)
    return BudgetTarget(
        budget,
        bundle,
        variant,
        budget.engine or default_engine(variant.format),
        budget.threads or loop_threads(),
        reference,
    )


def _reference(budget: Budget, bundle: Bundle, variant: Variant) -> tuple[Bundle, Variant] | None:
    source = Bundle.open(budget.reference) if budget.reference is not None else bundle
    candidates = [candidate for candidate in source.manifest.variants if candidate.full_precision]
    if budget.reference is not None and not candidates:
        msg = f"reference bundle {budget.reference} has no full-precision variant, such as litert_fp32 or onnx_fp32"
        raise ConfigError(msg)
    same_engine = [candidate for candidate in candidates if candidate.format == variant.format]
    chosen = next(iter(same_engine or candidates), None)
    return None if chosen is None else (source, chosen)


@dataclass(frozen=True)
class Timed:
    """Times of a variant and, if the budget limits a ratio, times of the full-precision variant."""

    times_ms: list[float]
    reference_ms: list[float] | None
    """Times of the full-precision variant. None if the budget does not limit a ratio."""

    @property
    def summary(self) -> Summary:
        """Percentiles of the variant's times."""
        return summarise(self.times_ms)

    @property
    def reference(self) -> Summary | None:
        """Percentiles of the full-precision variant's times, or None if they were not measured."""
        return None if self.reference_ms is None else summarise(self.reference_ms)


@dataclass(frozen=True, slots=True)
class Answers:
    """Accuracy of a variant compared with the full-precision variant or the original model."""

    drop: float
    """Drop of the primary metric in percentage points."""
    agreement: float
    """Share of samples for which the variant and its reference make the same decision, 0-1."""
    drop_from: str
    """Description of the data on which the drop was measured."""
    agreement_from: str
    """Description of the data on which the agreement was measured."""


class Measurement:
    """The measurements of one budget target.

    Args:
        subject: The budget with its bundle and variant.
        dataset: Labelled data on which drop and agreement are measured. If None, the figures measured at export are
            used.
        seconds: Duration in seconds for which inferences are timed. If None, `SECONDS` is used.
        progress: Receives the progress. If None, no progress is reported.
    """

    def __init__(
        self,
        subject: BudgetTarget,
        *,
        dataset: Dataset | None = None,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.subject = subject
        self._dataset, self._progress = dataset, progress or NoProgress()
        self._seconds = SECONDS if seconds is None else seconds
        self._timed: Timed | None = None
        self._cold_start: ColdStart | None = None
        self._answers: Answers | None = None

    def load(self) -> Session:
        """Load a session of the variant."""
        subject = self.subject
        return loader.load(subject.bundle, subject.variant, engine=subject.engine, threads=subject.threads)

    def timed(self) -> Timed:
        """Return the most recently measured times. The first call measures them."""
        if self._timed is None:
            self._timed = self._time(self._seconds)
        return self._timed

    def repeat(self, keys: Collection[str], retry: int) -> None:
        """Measure again for the given limits, and discard the earlier measurements.

        Args:
            keys: Names of the limits.
            retry: Number of this repetition, starting at 1. Each repetition takes twice as long as the one before.
        """
        if "start_ms" in keys:
            self._cold_start = None
        if any(key != "start_ms" for key in keys):
            self._timed = self._time(self._seconds * 2**retry)

    def _time(self, seconds: float) -> Timed:
        subject = self.subject
        self._progress.status(f"{subject.bundle.path.stem}: measuring times for {seconds:g} s")
        needed = _needed_samples(subject.budget)
        with ExitStack() as opened:
            sessions = [opened.enter_context(closing(self.load()))]
            frames = [read_frames(subject.bundle)]
            if subject.reference is not None and any(key in subject.budget.limits() for key in RATIOS):
                sessions.append(opened.enter_context(closing(load_reference(subject))))
                frames.append(_reference_frames(subject, frames[0]))
            warm_up(sessions, frames)
            interleaved(sessions, frames, UNLIMITED, time.perf_counter() + min(1.0, seconds / 3))
            samples: list[list[float]] = [[] for _ in sessions]
            began = time.perf_counter()
            while (elapsed := time.perf_counter() - began) < seconds or (len(samples[0]) < needed and elapsed < MAX_S):
                # Each round times the same number of inferences in both sessions, even if one of them is slower.
                for times, new_times in zip(samples, interleaved(sessions, frames, EACH, FOREVER), strict=True):
                    times += new_times
        return Timed(samples[0], samples[1] if len(samples) > 1 else None)

    def cold_start(self) -> ColdStart:
        """Return the start-up time and the memory use. The first call measures them in a separate process."""
        if self._cold_start is None:
            subject = self.subject
            self._progress.status(f"{subject.bundle.path.stem}: measuring start-up time and memory")
            path = str(subject.bundle.path.resolve())
            self._cold_start = measure_cold_start(path, subject.variant.name, subject.engine, subject.threads)
        return self._cold_start

    def answers(self) -> Answers:
        """Return the accuracy drop and the agreement.

        With labelled data, the tested variant runs on the data. It is compared with the full-precision variant on the
        same data or, if there is no such variant, with the original model's metric in the bundle. Without labelled
        data, the figures that were measured at export are returned.

        Raises:
            ConfigError: There is no full-precision variant, and the data set is not the one used at export.
        """
        if self._answers is None:
            self._answers = self._measure_answers()
        return self._answers

    def _measure_answers(self) -> Answers:
        check = self.subject.variant.check
        if self._dataset is None:
            return Answers(check.drop, check.agreement, "at export", "at export")
        if self.subject.reference is None:
            return self._compare_with_export(self._dataset)
        return self._compare_with_reference(self._dataset, self.subject.reference[0])

    def _compare_with_reference(self, dataset: Dataset, reference: Bundle) -> Answers:
        subject, manifest = self.subject, self.subject.bundle.manifest
        split, task = dataset.check_split, task_of(manifest.task)
        metric = task.metric
        target, count = target_of(dataset, manifest.task, manifest.context), len(dataset.names(split))
        outputs: list[Outputs] = []
        agreement: list[float] = []

        def reference_answers(session: Session) -> Iterator[tuple[GroundTruth, Outputs]]:
            for _, truth, output in self._run(dataset, reference.preprocessor(), session):
                outputs.append(output)
                yield truth, output

        def variant_answers(session: Session) -> Iterator[tuple[GroundTruth, Outputs]]:
            answers = self._run(dataset, subject.bundle.preprocessor(), session)
            for expected, (size_hw, truth, output) in zip(outputs, answers, strict=True):
                agreement.append(float(np.mean(task.agreeing(output, expected, manifest.context.of_frame(size_hw)))))
                yield truth, output

        with closing(load_reference(subject)) as session:
            expected_value = target.metrics(reference_answers(session)).metrics()[metric]
        with closing(self.load()) as session:
            value = target.metrics(variant_answers(session)).metrics()[metric]
        data = f"{count} samples of {dataset.source.name} {split}"
        drop_from = f"{data}, {metric} {value:.4f}, full precision {expected_value:.4f}"
        return Answers(100 * (expected_value - value), float(np.mean(agreement)), drop_from, data)

    def _run(
        self, dataset: Dataset, preprocessor: InputPreprocessor, session: Session
    ) -> Iterator[tuple[tuple[int, int] | None, GroundTruth, Outputs]]:
        """Run a session on all samples. Yield each sample's image size, ground truth and output.

        The size is None if the sample is not an image.
        """
        split = dataset.check_split
        count = len(dataset.names(split))
        for index in range(count):
            if index % REPORT_EVERY == 0:
                self._progress.status(f"{self.subject.bundle.path.stem}: measuring accuracy, sample {index} of {count}")
            sample = dataset.load(split, index)
            yield frame_size(raw_of(sample)), truth_of(sample), session.run(prepared(sample, preprocessor))

    def _compare_with_export(self, dataset: Dataset) -> Answers:
        """Return the drop on the data set used at export, for which the bundle stores the original model's metric."""
        subject, check = self.subject, self.subject.variant.check
        if not is_export_data(subject.bundle.manifest, dataset):
            msg = (
                f"{subject.bundle.path.name} has no full-precision variant to compare with on {dataset.source.name}, "
                "which is not the data set used at its export: set `reference` to a bundle that has one"
            )
            raise ConfigError(msg)
        with closing(self.load()) as session:
            measured = accuracy(subject.bundle, session, dataset)
        assert measured.drop is not None
        drop_from = (
            f"{measured.count} samples of {measured.data} {measured.split}, {measured.metric} {measured.value:.4f}"
        )
        return Answers(measured.drop, check.agreement, drop_from, "at export")


def load_reference(subject: BudgetTarget) -> Session:
    """Load a session of the full-precision variant, on the engine of the tested variant if this engine can run it."""
    assert subject.reference is not None
    bundle, variant = subject.reference
    engine = subject.engine if loader.fits(variant, subject.engine) else default_engine(variant.format)
    return loader.load(bundle, variant, engine=engine, threads=subject.threads)


def _reference_frames(subject: BudgetTarget, frames: list[KnownFrame]) -> list[KnownFrame]:
    """Return the inputs of the full-precision variant.

    They are `frames` if both bundles have the same preprocessing, else the golden frames of the reference bundle.
    """
    assert subject.reference is not None
    bundle = subject.reference[0]
    if bundle is subject.bundle or bundle.manifest.preprocess == subject.bundle.manifest.preprocess:
        return frames
    return read_frames(bundle)


def _needed_samples(budget: Budget) -> int:
    """Return the number of samples for all percentiles that a budget limits."""
    keys = [key for key in budget.limits() if key[0] == "p" and key.partition("_")[2] in ("ms", "ratio")]
    return max((min_samples(percent_of(key)) for key in keys), default=1)

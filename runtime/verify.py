"""Verify a bundle on this machine, and find the first stage that differs from the export."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from orilla.devices.errors import ConfigError, InvalidOutputError, OrillaError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.comparison import lost_accuracy
from orilla.runtime.bundle.golden import KnownFrame, read_answers, read_frames
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader, registry
from orilla.runtime.engines.session import Session
from orilla.runtime.evaluation.accuracy import evaluate_session, is_export_data
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.preprocessing.input_kind import frame_size
from orilla.runtime.preprocessing.tensor_spec import Outputs, TensorSpec, pack
from orilla.runtime.tasks.metrics.bootstrap import few_samples
from orilla.runtime.tasks.registry import task_of

RESULT_SLACK = 0.01
"""In the stage `result`, the agreement may be lower than the minimum of the variant's tolerance by this much, because
processors resize images differently."""

METRIC_SLACK = 0.5
"""Number of percentage points by which the primary metric may be below its value at export on the same data."""


@dataclass(frozen=True, slots=True)
class Stage:
    """The outcome of one stage of the verification."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class VariantVerdict:
    """The verdict on one variant."""

    variant: str
    engine: str
    passed: bool
    skipped: str | None
    """Reason why the variant did not run. None if it ran."""
    first_difference: str | None
    """Name of the first stage that differs from the export. None if all agree."""
    stages: tuple[Stage, ...]
    metrics: dict[str, float]
    """Metrics on the data set of `verify`. Empty if no data set was given."""


def verify(
    bundle: Bundle, variants: tuple[Variant, ...], dataset: Dataset | None = None, *, engine: str | None = None
) -> list[VariantVerdict]:
    """Compare each variant's stages with the golden data, and its accuracy with the accuracy at export.

    Args:
        bundle: The bundle.
        variants: Variants to verify.
        dataset: Labelled data to measure the accuracy on. If None, this stage is omitted.
        engine: Engine that runs the variants. If None, each variant runs on its own engine.

    Raises:
        ConfigError: The engine is unknown, or cannot run any of the variants.
    """
    if engine is not None:
        fitting = tuple(variant for variant in variants if loader.fits(variant, engine))
        if not fitting:
            msg = f"engine={engine} cannot run any of the variants {', '.join(variant.name for variant in variants)}"
            raise ConfigError(msg)
        variants = fitting
    frames = read_frames(bundle)
    return [
        _verify_variant(bundle, variant, engine or registry.default_engine(variant.format), frames, dataset)
        for variant in variants
    ]


def _verify_variant(
    bundle: Bundle, variant: Variant, engine: str, frames: list[KnownFrame], dataset: Dataset | None
) -> VariantVerdict:
    if engine in registry.ENGINES and not registry.installed(engine):
        reason = f"engine {engine} is not installed: {registry.ENGINES[engine].install}"
        return _verdict(variant, engine, (), skipped=reason)
    try:
        session = loader.load(bundle, variant, engine=engine)
    except OrillaError as error:
        failed = Stage("load", passed=False, detail=str(error))
        return _verdict(variant, engine, (failed,))
    with closing(session):
        stages = [
            *_export_stage(bundle, variant),
            _decode_stage(frames),
            _prepare_stage(bundle, frames),
            *_infer_stages(bundle, variant, session, frames),
        ]
        metrics: dict[str, float] = {}
        if dataset is not None:
            metrics, stage = _accuracy_stage(bundle, variant, session, dataset)
            stages.append(stage)
    return _verdict(variant, session.engine, tuple(stages), metrics=metrics)


def _verdict(
    variant: Variant,
    engine: str,
    stages: tuple[Stage, ...],
    *,
    skipped: str | None = None,
    metrics: dict[str, float] | None = None,
) -> VariantVerdict:
    first = next((stage.name for stage in stages if not stage.passed), None)
    return VariantVerdict(variant.name, engine, first is None, skipped, first, stages, metrics or {})


def _export_stage(bundle: Bundle, variant: Variant) -> list[Stage]:
    """Return a failed stage if the variant lost its accuracy at export, because its golden answers are then wrong."""
    lost = lost_accuracy(bundle.manifest, variant)
    return [] if lost is None else [Stage("export", passed=False, detail=lost)]


def _decode_stage(frames: list[KnownFrame]) -> Stage:
    intact = sum(frame.intact for frame in frames)
    return Stage("decode", intact == len(frames), f"{intact} of {len(frames)} golden frames decode to the same pixels")


def _prepare_stage(bundle: Bundle, frames: list[KnownFrame]) -> Stage:
    result = bundle.preprocessor().compare([frame.raw for frame in frames], [frame.prepared for frame in frames])
    return Stage(result.stage, result.passed, result.detail)


def _infer_stages(bundle: Bundle, variant: Variant, session: Session, frames: list[KnownFrame]) -> list[Stage]:
    """Compare the outputs with the golden answers: for prepared samples (`infer`) and for raw samples (`result`)."""
    preprocessor, allowed, specs = bundle.preprocessor(), variant.tolerance, bundle.manifest.outputs
    task, context = task_of(bundle.manifest.task), bundle.manifest.context
    try:
        expected = read_answers(bundle, variant)
        outputs = [session.run(frame.prepared) for frame in frames]
        raw_outputs = [session.run(preprocessor(frame.raw)) for frame in frames]
        if (difference := _shape_difference(outputs[0], specs)) is not None:
            return [Stage("infer", passed=False, detail=difference)]
        results = [
            float(np.mean(task.agreeing(output, golden, context.of_frame(frame_size(frame.raw)))))
            for output, golden, frame in zip(raw_outputs, expected, frames, strict=True)
        ]
    except (OrillaError, ValueError) as failure:
        return [Stage("infer", passed=False, detail=str(failure))]
    error = np.stack(
        [
            np.abs(pack(output, specs, np.float32) - pack(golden, specs, np.float32))
            for output, golden in zip(outputs, expected, strict=True)
        ]
    )
    mean, worst = float(error.mean(axis=1).max()), float(error.max())
    same = min(float(np.mean(task.agreeing(*pair, context))) for pair in zip(outputs, expected, strict=True))
    # The comparisons below are False for NaN, so the stage fails.
    close = mean <= allowed.mean_error and worst <= allowed.max_error and same >= allowed.agreement
    detail = f"mean error {mean:.5f} (<= {allowed.mean_error:.5f}), max {worst:.4f} (<= {allowed.max_error:.4f})"
    detail += f", agreement {same:.5f} (>= {allowed.agreement:.5f}) with the outputs at export"
    least = allowed.agreement - RESULT_SLACK
    summary = f"share of agreeing {task.decision} {min(results):.5f} (>= {least:.5f})"
    result = Stage("result", min(results) >= least, summary)
    return [Stage("infer", close, detail), result]


def _shape_difference(outputs: Outputs, specs: Sequence[TensorSpec]) -> str | None:
    """Return an error message if the shapes of outputs differ from those in the manifest, or None."""
    for spec in specs:
        if outputs[spec.name].shape != spec.shape:
            found, expected = list(outputs[spec.name].shape), list(spec.shape)
            return f"the output {spec.name} has shape {found}, but at export it had {expected}"
    return None


def _accuracy_stage(
    bundle: Bundle, variant: Variant, session: Session, dataset: Dataset
) -> tuple[dict[str, float], Stage]:
    """Measure the accuracy on the user's data.

    On the data used at export, the accuracy may be at most `METRIC_SLACK` points lower than at export. On other
    data, the accuracy is only reported.
    """
    manifest, split = bundle.manifest, dataset.check_split
    try:
        metrics, same = evaluate_session(bundle, session, dataset).metrics(), is_export_data(manifest, dataset)
    except InvalidOutputError as error:
        return {}, Stage("accuracy", passed=False, detail=str(error))
    task = task_of(manifest.task)
    metric = task.metric
    points = 100 * (variant.check.metrics[metric] - metrics[metric])
    detail = f"{task.metric_title} {metrics[metric]:.4f} on {dataset.source.name} {split}"
    detail += f", {variant.check.metrics[metric]:.4f} at export" if same else " (not the data used at export)"
    few = few_samples(len(dataset.names(split)))
    detail += f"; {few}" if few else ""
    return metrics, Stage("accuracy", not same or points <= METRIC_SLACK, detail)

"""Export a trained model to a bundle: convert once, quantise by recipe, check each variant, write."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError, ConversionError, OrillaError
from orilla.export import samples
from orilla.export.build import make
from orilla.export.check import timing
from orilla.export.check.compare import SECONDS, Reference
from orilla.export.check.golden import GoldenData
from orilla.export.check.reference import answered
from orilla.export.check.variants import Checking
from orilla.export.convert import fork_server
from orilla.export.recipe import Recipe, select
from orilla.export.recommend import MAX_DROP
from orilla.export.samples import SampleSet
from orilla.export.source_model import ModelHints, SourceModel, open_source_model
from orilla.export.workspace import Workspace
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.manifest import SCHEMA, Manifest, Report, Variant
from orilla.runtime.bundle.run_folder import VOCABULARY
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.metrics import check_labels, target_of
from orilla.runtime.files import check_writable


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of `orilla export`."""

    recipes: str = "all"
    calibration: str | None = None
    calibration_count: int = 100
    validation: str | None = None
    validation_count: int | None = None
    golden: str | None = None
    golden_count: int = 4
    seed: int = 0
    max_drop: float = MAX_DROP
    timing: bool = True
    """False leaves latencies out, so that the same model gives the same bytes."""
    hints: ModelHints = field(default_factory=ModelHints)
    step: Callable[[str], None] = field(default=lambda text: None)
    """Function that receives the name of each step."""


def export(model: Path, out: Path, options: ExportOptions) -> Manifest:
    """Write the bundle `out` from a run folder, a `.keras` or `.h5` file, or a SavedModel folder.

    Nothing half-written remains after an error.

    Raises:
        ConfigError: An option cannot be used.
        DataError: Data or a model file cannot be used.
        ConversionError: No variant could be built.
        OutputError: `out` cannot be written.
    """
    chosen = select(options.recipes)
    check_writable(out)
    try:
        with tempfile.TemporaryDirectory(prefix="orilla-") as temporary:
            return _export(model, out, chosen, options, Workspace(Path(temporary)))
    except MemoryError as error:
        msg = "out of memory: use fewer samples: reduce `validation_count` and `calibration_count`"
        raise ConversionError(msg) from error
    except OSError as error:
        if error.errno != errno.ENOSPC or isinstance(error, OrillaError):
            raise
        raise fork_server.no_space() from error


def _export(model: Path, out: Path, chosen: dict[str, Recipe], options: ExportOptions, work: Workspace) -> Manifest:
    options.step("reading the model")
    source = open_source_model(model, options.hints, work)
    fitting, not_applicable = _fit(chosen, source)
    options.step("reading samples")
    source, dataset, other = _data(source, fitting, options)
    checked, seen, items = _draw(source, dataset, other, options, work)
    raws = samples.golden(options.golden, dataset, items, source, options.golden_count)
    options.step("running the original model on the validation data")
    reference, known = answered(source, checked, dataset, raws, options.golden_count, work)
    seconds = SECONDS if options.timing else None  # without timing, no clock limits the number of checked samples
    failed: dict[str, str] = {}
    made = make(source, fitting, seen, work, failed, options.step)
    checking = Checking(made, fitting, reference, known, failed, options.step)
    checking.check(seconds)
    if options.timing:
        checking.time()
    default = checking.settle(options.max_drop)
    report = _report(reference, checked, seen, failed, not_applicable, options)
    manifest = _manifest(source, tuple(checking.variants.values()), default, known, report)
    files = checking.files() | known.files
    if source.vocabulary is not None:
        files[VOCABULARY] = source.vocabulary
    manifest = msgspec.structs.replace(manifest, files=bundles.entries(files))
    options.step("writing the bundle")
    bundles.write(out, manifest, files)
    return manifest


def _fit(chosen: dict[str, Recipe], source: SourceModel) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Return the recipes that apply to the model, adapted to it, and the reasons of the others."""
    reasons = {name: recipe.not_applicable(source.facts) for name, recipe in chosen.items()}
    not_applicable = {name: reason for name, reason in reasons.items() if reason is not None}
    fitting = {name: recipe.fit(source.facts) for name, recipe in chosen.items() if name not in not_applicable}
    if not fitting:
        name, reason = next(iter(not_applicable.items()))
        msg = f"recipe {name} does not apply to this model: {reason}"
        raise ConfigError(msg)
    return fitting, not_applicable


def _data(
    source: SourceModel, fitting: dict[str, Recipe], options: ExportOptions
) -> tuple[SourceModel, Dataset, Dataset | None]:
    """Return the source with its labels, the data for the check, and the data for calibration if a recipe needs it."""
    calibration = options.calibration or source.data
    validation = options.validation or source.data or options.calibration
    needs = [name for name, recipe in fitting.items() if recipe.calibrated]
    if validation is None:
        msg = "no data for the check: give `calibration`, or `validation` with labels"
        raise ConfigError(msg)
    if calibration is None and needs:
        msg = f"{needs[0]} needs calibration samples: give `calibration`, or other `recipes`"
        raise ConfigError(msg)
    dataset = samples.open_samples(validation, source)
    if not source.named and len(dataset.classes) == len(source.labels) and dataset.task == source.task:
        source = replace(source, labels=dataset.classes)
    if dataset.labelled:
        target = target_of(dataset, source.task, source.labels)
        if source.task in ("classify", "text"):
            check_labels(target, dataset)
    if not needs or calibration is None:
        return source, dataset, None
    same = samples.same_place(calibration, validation)
    return source, dataset, dataset if same else samples.open_samples(calibration, source)


def _draw(
    source: SourceModel, dataset: Dataset, other: Dataset | None, options: ExportOptions, work: Workspace
) -> tuple[SampleSet, SampleSet | None, list[Item]]:
    """Read and prepare the samples for the check and for calibration."""
    calibrated_on, items = samples.divide(
        other, dataset, options.calibration_count, options.validation_count, options.seed
    )
    checked = samples.prepare(dataset, items, source, work, "validation")
    if other is None:
        return checked, None, items
    seen = samples.prepare(other, calibrated_on, source, work, "calibration")
    samples.check_calibration(seen, source)
    if other is not dataset:  # otherwise both are drawn from one data set
        samples.check_same_kind(seen, checked, source)
    return checked, seen, items


def _report(
    reference: Reference,
    checked: SampleSet,
    seen: SampleSet | None,
    failed: dict[str, str],
    not_applicable: dict[str, str],
    options: ExportOptions,
) -> Report:
    return Report(
        data=checked.source,
        sha256=checked.sha256,
        count=checked.count,
        calibration=seen.source if seen is not None else "",
        calibration_count=seen.count if seen is not None else 0,
        calibration_sha256=samples.digest(seen) if seen is not None else "",
        metrics=reference.metrics,
        truth="labels" if reference.truths is checked.truths else "original",
        calibration_seed=options.seed,
        timed_on=timing.timed_on() if options.timing else None,
        failed=failed,
        not_applicable=not_applicable,
    )


def _manifest(
    source: SourceModel, variants: tuple[Variant, ...], default: str, golden: GoldenData, report: Report
) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name=source.name,
        task=source.task,
        labels=source.labels,
        preprocess=source.preprocessor.spec,
        variants=variants,
        default=default,
        golden=golden.entries,
        card=source.card,
        report=report,
        files={},
        vocabulary=VOCABULARY if source.vocabulary is not None else None,
    )

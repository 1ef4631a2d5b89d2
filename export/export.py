"""Export a trained model as a bundle: convert it, quantise it by recipe, check each variant, and write the bundle."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from orilla.devices.errors import ConfigError, ConversionError, OrillaError
from orilla.devices.progress import NoProgress, Progress
from orilla.export.build import Builder
from orilla.export.check import timing
from orilla.export.check.chance import chance_warning, constant_note
from orilla.export.check.compare import SECONDS, Reference
from orilla.export.check.doubts import doubts
from orilla.export.check.golden import candidates, choose_golden, raw_samples
from orilla.export.check.numbering import numbering_doubts
from orilla.export.check.recalibrate import describe, find_worst, recalibrate
from orilla.export.check.reference import make_reference, run_original
from orilla.export.check.variants import VariantChecks
from orilla.export.check.worst import contact_sheet
from orilla.export.choices import data_choices
from orilla.export.convert import fork_server
from orilla.export.data.calibration import (
    calibration_familiarity,
    check_calibration,
    check_same_range,
    save_calibration,
    with_added,
)
from orilla.export.data.draw import all_items, divide
from orilla.export.data.open import generated_samples, is_same_data, open_samples
from orilla.export.data.prepared import SampleSet, prepare
from orilla.export.failures import all_reasons
from orilla.export.imports.recipes import check_selection, imported_recipes
from orilla.export.imports.registry import importer_for
from orilla.export.imports.source import open_imported
from orilla.export.model_hints import ModelHints
from orilla.export.recipe import Recipe, select
from orilla.export.recommend import MAX_DROP
from orilla.export.search.search import PrecisionSearch
from orilla.export.source_model import SourceModel, open_source_model
from orilla.export.workspace import Workspace
from orilla.runtime.bundle import bundle as bundles
from orilla.runtime.bundle.destination import check_new
from orilla.runtime.bundle.manifest import SCHEMA, Manifest, Report, Search, WorstFrames
from orilla.runtime.bundle.run_folder import VOCABULARY
from orilla.runtime.evaluation.datasets import Dataset, Sample
from orilla.runtime.evaluation.datasets.dataset import Item
from orilla.runtime.evaluation.targets import check_labels, target_of
from orilla.runtime.files import write_bytes
from orilla.runtime.tasks.registry import task_of


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of an export."""

    recipes: str = "all"
    """`all`, `fast`, or recipe names separated by commas."""
    calibration: str | None = None
    """Calibration data. If None, the data set of the run folder is used."""
    calibration_count: int = 100
    add_calibration: str | None = None
    """Data whose samples are all added to the calibration, such as the frames that a shadow check stored."""
    validation: str | None = None
    """Data on which each variant is compared with the original model.

    If None, the data set of the run folder is used or, without a run folder, a part of the calibration data.
    """
    validation_count: int | None = None
    """Maximum number of validation samples. If None, all samples are used."""
    golden: str | None = None
    """Data for the golden samples. If None, the validation data is used."""
    golden_count: int = 4
    seed: int = 0
    """Random seed for drawing the calibration samples."""
    max_drop: float = MAX_DROP
    """Largest drop of accuracy that is allowed for the default variant, in points."""
    search_seconds: float | None = None
    """If every int8 variant drops by more than `max_drop`, time limit for the search for a better one, in seconds.

    If None, there is no search.
    """
    worst_frames: Path | None = None
    """PNG file to write. It shows the validation images on which int8 and the original model disagree most."""
    recalibrate: bool = False
    """If True, the worst samples are added to the calibration data of one more int8 variant."""
    timing: bool = True
    """If False, latency is not measured, so that repeated exports of the same model give identical bundles."""
    overwrite: bool = False
    """If True, an existing bundle at the output path is replaced. Other files are never replaced."""
    hints: ModelHints = field(default_factory=ModelHints)


@dataclass(frozen=True, slots=True)
class _ExportData:
    """The validation data set of an export, and the samples for validation and calibration."""

    dataset: Dataset
    """Validation data set."""
    items: list[Item]
    """Split and index of each validation sample."""
    validation: SampleSet
    calibration: SampleSet | None
    """Prepared calibration samples. None if no recipe needs them."""

    def samples(self) -> Iterator[Sample]:
        """Yield the validation samples."""
        return (self.dataset.load(*item) for item in self.items)


def export(model: Path, out: Path, options: ExportOptions, progress: Progress | None = None) -> Manifest:
    """Export a run folder, a Keras model, or a `.tflite` or `.onnx` file as the bundle `out`.

    After an error, no incomplete bundle remains.

    Args:
        model: Path of the run folder or model.
        out: Path of the bundle to write.
        options: Options of the export.
        progress: Receives the progress. If None, progress is not reported.

    Returns:
        The manifest of the bundle.

    Raises:
        ConfigError: An option is invalid or does not fit the model.
        DataError: The data or the model file cannot be used.
        ConversionError: No variant could be built.
        OutputError: `out` cannot be written.
    """
    select(options.recipes) if importer_for(model) is None else check_selection(options.recipes)
    check_new(out, overwrite=options.overwrite)
    try:
        with tempfile.TemporaryDirectory(prefix="orilla-") as temporary:
            work = Workspace(Path(temporary))
            manifest, files = _export(model, options, work, progress or NoProgress())
            bundles.write(out, manifest, files)
            return manifest
    except MemoryError as error:
        msg = "out of memory: reduce `validation_count` and `calibration_count` to use fewer samples"
        raise ConversionError(msg) from error
    except OSError as error:
        if error.errno != errno.ENOSPC or isinstance(error, OrillaError):
            raise
        raise fork_server.no_space() from error


def _export(
    model: Path, options: ExportOptions, work: Workspace, progress: Progress
) -> tuple[Manifest, dict[str, bytes]]:
    """Return the manifest and the files of the bundle."""
    progress.status("reading the model")
    source = _open(model, options.hints, work)
    recipes, not_applicable = _applicable(source, options)
    progress.status("reading samples")
    source, data = _read_data(source, recipes, options, work)
    raws = raw_samples(options.golden, data.dataset, data.items, source, options.golden_count)
    progress.status("running the original model on the validation data")
    golden_candidates = candidates(raws, source)
    outputs, golden_outputs = run_original(source, data.validation, golden_candidates, work)
    reference = make_reference(source, data.validation, data.dataset, outputs)
    golden = choose_golden(source, golden_candidates, golden_outputs, options.golden_count)
    doubted: tuple[str, ...] = source.notes + constant_note(reference)
    if options.calibration or options.validation:
        doubted += doubts(source, data.validation, reference, work)
    doubted += numbering_doubts(source, data.samples(), reference, work, stated=options.hints.vocabulary_start)
    builder = Builder(source.model, work, progress)
    models, failed = builder.build(recipes)
    checks = VariantChecks(models, recipes, source, reference, golden, failed, progress)
    worst, search = _check_all(checks, builder, data, options)
    default = checks.choose_default(options.max_drop)
    files = checks.files() | golden.files
    if source.vocabulary is not None:
        files[VOCABULARY] = source.vocabulary
    progress.status("writing the bundle")
    manifest = Manifest(
        schema=SCHEMA,
        name=source.name,
        task=source.task,
        labels=source.labels,
        preprocess=source.preprocessor.spec,
        outputs=source.outputs,
        variants=tuple(checks.variants.values()),
        default=default,
        golden=golden.entries,
        card=source.card,
        report=msgspec.structs.replace(
            _report(reference, data, options, failed, not_applicable),
            doubts=doubted,
            choices=source.choices,
            warning=chance_warning(reference, source, data.validation.source),
            worst=worst,
            search=search,
        ),
        files=bundles.entries(files),
        vocabulary=VOCABULARY if source.vocabulary is not None else None,
        head=source.head,
        decoding=source.decoding,
        familiarity=calibration_familiarity(data.calibration, source),
    )
    return manifest, files


def _check_all(
    checks: VariantChecks, builder: Builder, data: _ExportData, options: ExportOptions
) -> tuple[WorstFrames | None, Search | None]:
    """Check and time all variants. Return the worst samples and the search, each None if it was not requested."""
    # With a time limit, the number of checked samples depends on the machine. If latency is not measured, the bundle
    # must not depend on the machine, so there is no limit.
    checks.check(SECONDS if options.timing else None)
    worst = search = None
    if options.worst_frames is not None or options.recalibrate:
        worst = _worst(checks, builder, data, options)
    if options.search_seconds is not None:
        search = PrecisionSearch(builder, checks, options.max_drop, options.search_seconds).run()
    if options.timing:
        checks.time()
    return worst, search


def _worst(checks: VariantChecks, builder: Builder, data: _ExportData, options: ExportOptions) -> WorstFrames:
    """Find the samples on which int8 is worst. Draw them and calibrate with them if the options ask for it."""
    builder.progress.status("finding the samples on which int8 is worst")
    worst = find_worst(checks)
    assert data.calibration is not None  # The calibration of the int8 variants needs this option.
    if options.worst_frames is not None:
        sheet = contact_sheet(worst.samples, checks.reference, data.dataset, data.items)
        write_bytes(options.worst_frames, sheet)
    described = describe(worst, data.calibration, checks.reference, data.dataset)
    if not options.recalibrate:
        return described
    builder.progress.status("calibrating with these samples")
    gain = recalibrate(worst, data.calibration, builder, checks)
    return msgspec.structs.replace(described, recalibration=gain)


def _open(model: Path, hints: ModelHints, work: Workspace) -> SourceModel:
    """Open a model with the importer for its suffix, or with Keras."""
    kind = importer_for(model)
    return open_source_model(model, hints, work) if kind is None else open_imported(model, kind, hints, work)


def _applicable(source: SourceModel, options: ExportOptions) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Return the recipes that apply to the model, and the reason why each of the others does not apply."""
    unsuitable: dict[str, str] = {}
    if source.foreign is None:
        selected = select(options.recipes)
    else:
        calibrated = options.calibration is not None
        selected, unsuitable = imported_recipes(source.foreign, options.recipes, calibrated=calibrated)
    reasons = {name: recipe.not_applicable(source.info) for name, recipe in selected.items()}
    not_applicable = unsuitable | {name: reason for name, reason in reasons.items() if reason is not None}
    recipes = {name: recipe.fit(source.info) for name, recipe in selected.items() if name not in not_applicable}
    if not recipes:
        msg = f"no recipe applies to this model: {all_reasons(not_applicable)}"
        raise ConfigError(msg)
    return recipes, not_applicable


def _read_data(
    source: SourceModel, recipes: dict[str, Recipe], options: ExportOptions, work: Workspace
) -> tuple[SourceModel, _ExportData]:
    """Return the model with its labels, and the prepared samples."""
    source, dataset, calibration_dataset = _open_data(source, recipes, options)
    source = replace(source, choices=source.choices + data_choices((dataset, calibration_dataset)))
    drawn, items = divide(
        calibration_dataset,
        dataset,
        count=options.calibration_count,
        limit=options.validation_count,
        seed=options.seed,
    )
    validation = prepare(dataset, items, source, work, "validation")
    if calibration_dataset is None:
        if options.add_calibration is not None:
            msg = f"add_calibration={options.add_calibration}: none of the chosen `recipes` is calibrated"
            raise ConfigError(msg)
        return source, _ExportData(dataset, items, validation, None)
    calibration = prepare(calibration_dataset, drawn, source, work, "calibration")
    if options.add_calibration is not None:
        added = open_samples(options.add_calibration, source)
        calibration = with_added(calibration, prepare(added, all_items(added), source, work, "added"))
    check_calibration(calibration, source)
    if calibration_dataset is not dataset:
        check_same_range(calibration, validation, source)
    save_calibration(calibration, source, work.calibration)
    return source, _ExportData(dataset, items, validation, calibration)


def _open_data(
    source: SourceModel, recipes: dict[str, Recipe], options: ExportOptions
) -> tuple[SourceModel, Dataset, Dataset | None]:
    """Return the model with its labels, the validation data set, and the calibration data set or None."""
    calibration = options.calibration or source.data
    validation = options.validation or source.data or options.calibration
    calibrated = [name for name, recipe in recipes.items() if recipe.calibrated]
    if validation is None and source.foreign is not None and not calibrated:
        return source, generated_samples(source), None
    if validation is None:
        msg = "no data for the comparison with the original model: set `calibration`, or `validation` with labels"
        raise ConfigError(msg)
    if calibration is None and calibrated:
        msg = f"recipe {calibrated[0]} needs calibration samples: set `calibration`, or choose other `recipes`"
        raise ConfigError(msg)
    dataset = open_samples(validation, source)
    if dataset.has_labels:
        _require_labels(source, dataset)
        target = target_of(dataset, source.task, source.context)
        if target.task.classifies:
            check_labels(target, dataset)
        source = _with_ranges(source, dataset, target.class_indices)
    if not calibrated or calibration is None:
        return source, dataset, None
    return source, dataset, dataset if is_same_data(calibration, validation) else open_samples(calibration, source)


def _with_ranges(source: SourceModel, dataset: Dataset, indices: tuple[int, ...]) -> SourceModel:
    """Return an imported regression model with the units and ranges of the values in the data set.

    Args:
        source: The original model.
        dataset: The labelled validation data set.
        indices: For each value of the model, the index of the same value in the data set.
    """
    units, ranges = dataset.decoding.units, dataset.decoding.ranges
    if not ranges or source.decoding.ranges:
        return source
    decoding = msgspec.structs.replace(
        source.decoding,
        units=tuple(units[index] for index in indices) if units else (),
        ranges=tuple(ranges[index] for index in indices),
    )
    return replace(source, decoding=decoding)


def _require_labels(source: SourceModel, dataset: Dataset) -> None:
    """Raise `ConfigError` if the data name classes, but the classes of the model are only numbers.

    The classes of a data set may be in a different order from the model's outputs, so they are not used as labels.
    """
    if source.has_labels or not dataset.classes or not task_of(source.task).classifies:
        return
    msg = (
        f"`labels` is missing: {dataset.source.name} has the classes {', '.join(dataset.classes)}, but the model's "
        f"{len(source.labels)} classes have no names; give a file with their names, in the order of the outputs"
    )
    raise ConfigError(msg)


def _report(
    reference: Reference,
    data: _ExportData,
    options: ExportOptions,
    failed: dict[str, str],
    not_applicable: dict[str, str],
) -> Report:
    validation, calibration = data.validation, data.calibration
    return Report(
        data=validation.source,
        sha256=validation.sha256,
        count=validation.count,
        calibration=calibration.source if calibration is not None else "",
        calibration_count=calibration.count if calibration is not None else 0,
        calibration_sha256=calibration.digest() if calibration is not None else "",
        metrics=reference.metrics,
        truth="labels" if reference.truths is validation.truths else "original",
        calibration_seed=options.seed,
        timed_on=timing.timed_on() if options.timing else None,
        failed=failed,
        not_applicable=not_applicable,
    )

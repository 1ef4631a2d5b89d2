"""From a run folder to a bundle: convert once, quantise by recipe, check each variant, write."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConversionError, DataError, OrillaError, unknown_name
from orilla.export import pictures, worker
from orilla.export.check import TOLERANCE, Reference, answers, check
from orilla.export.recipe import SUFFIXES, Recipe, select
from orilla.runtime import bundle as bundles
from orilla.runtime.datasets import Dataset, open_dataset
from orilla.runtime.engines import registry
from orilla.runtime.files import check_writable
from orilla.runtime.golden import pack
from orilla.runtime.manifest import SCHEMA, Golden, Manifest, Report, Variant
from orilla.runtime.preprocess import Preprocessor
from orilla.runtime.run_folder import read_run

MAX_DROP = 1.0
"""Points that a variant may lose and still be the default."""

JPEG_QUALITY = 92
"""Of golden frames: what cameras store."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What `orilla export` can be told."""

    recipes: str = "all"
    calibration: str | None = None
    calibration_count: int = 100
    validation: str | None = None
    validation_count: int | None = None
    golden: str | None = None
    golden_count: int = 4
    seed: int = 0
    step: Callable[[str], None] = field(default=lambda text: None)
    """Told what is being done."""


@dataclass(frozen=True, slots=True)
class _Golden:
    files: dict[str, bytes]
    entries: tuple[Golden, ...]
    prepared: NDArray[np.uint8]
    outputs: NDArray[np.float32]


def export(run: Path, out: Path, options: ExportOptions) -> Manifest:
    """Writes the bundle `out` from the run folder `run`.

    Raises:
        ConfigError, DataError: options or data that can't be used.
        ConversionError: no variant could be made.
        OutputError: `out` cannot be written. Nothing is left half-written in any case.
    """
    chosen = select(options.recipes)
    check_writable(out)
    card, settings = read_run(run)
    model = run / "model.keras"
    if not model.is_file():
        raise DataError(f"not a run folder: {model} is missing; orilla train writes it")
    dataset = _validation_data(options.validation or settings.data, card.label)
    with tempfile.TemporaryDirectory(prefix="orilla-") as temporary:
        work = Path(temporary)
        options.step("reading pictures")
        prepared, truths = pictures.validation(dataset, settings.preprocess, options.validation_count)
        seen = pictures.calibration(
            options.calibration or settings.data, settings.preprocess, options.calibration_count, options.seed
        )
        np.save(work / "calibration.npy", seen.pictures)
        options.step("original model on validation data")
        outputs = _predict(model, prepared, work / "validation")
        reference = Reference(dataset, card.label, truths, prepared, outputs)
        golden_data = _validation_data(options.golden, card.label) if options.golden else dataset
        golden = _golden(model, golden_data, card.label, Preprocessor(settings.preprocess), options.golden_count, work)
        made, refused = _convert(model, chosen, work, options.step)
        variants, files = _check_all(chosen, made, reference, golden, refused, options.step)
    if not variants:
        name, reason = next(iter(refused.items()))
        raise ConversionError(f"no variant could be made: {name}: {reason}")
    files |= golden.files
    report = Report(
        data=f"{dataset.source.name} val",
        sha256=dataset.digest("val"),
        count=len(prepared),
        calibration=seen.source,
        calibration_count=len(seen.pictures),
        calibration_sha256=seen.sha256,
        metrics=reference.metrics,
        refused=refused,
    )
    manifest = Manifest(
        schema=SCHEMA,
        name=card.model,
        task="segment",
        labels=(card.label,),
        preprocess=settings.preprocess,
        variants=tuple(variants),
        default=_default(variants, files),
        golden=golden.entries,
        card=card,
        report=report,
        files=bundles.entries(files),
    )
    bundles.write(out, manifest, files)
    return manifest


def _validation_data(spec: str, label: str) -> Dataset:
    dataset = open_dataset(spec)
    if "val" not in dataset.splits:
        raise DataError(f"data set {spec} has no val/ split to check against")
    if label not in dataset.classes:
        raise unknown_name(f"class of {dataset.source.name}", label, dataset.classes)
    return dataset


def _predict(model: Path, prepared: NDArray[np.uint8], stem: Path) -> NDArray[np.float32]:
    given, made = stem.with_suffix(".in.npy"), stem.with_suffix(".out.npy")
    np.save(given, prepared)
    worker.call("orilla.export.reference:predict", model=str(model), pictures=str(given), out=str(made))
    outputs: NDArray[np.float32] = np.load(made)
    return outputs


def _golden(model: Path, dataset: Dataset, label: str, prepare: Preprocessor, count: int, work: Path) -> _Golden:
    frames = []
    for sample in pictures.golden(dataset, label, count):
        ok, jpeg = cv2.imencode(".jpg", sample.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not ok:
            raise DataError(f"cannot store {sample.name} as a golden frame")
        frames.append((jpeg.tobytes(), cv2.imdecode(jpeg, cv2.IMREAD_COLOR)))
    prepared = np.stack([prepare(image).copy() for _, image in frames])
    outputs = _predict(model, prepared, work / "golden")
    files: dict[str, bytes] = {}
    entries = []
    for index, (jpeg, image) in enumerate(frames):
        stem = f"golden/{index:03d}"
        files |= {
            f"{stem}.jpg": jpeg,
            f"{stem}.prepared.png": cv2.imencode(".png", prepared[index], [cv2.IMWRITE_PNG_COMPRESSION, 9])[
                1
            ].tobytes(),
            f"{stem}.output.npy": pack(outputs[index]),
        }
        sha256 = hashlib.sha256(image.tobytes()).hexdigest()
        entries.append(Golden(f"{stem}.jpg", sha256, f"{stem}.prepared.png", f"{stem}.output.npy"))
    return _Golden(files, tuple(entries), prepared, outputs)


def _convert(
    model: Path, chosen: dict[str, Recipe], work: Path, step: Callable[[str], None]
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Makes each recipe's file; a recipe that fails is refused with its reason, the others go on."""
    bases: dict[str, Path | OrillaError] = {}
    made: dict[str, bytes] = {}
    refused: dict[str, str] = {}
    for name, recipe in chosen.items():
        step(f"making {name}")
        try:
            if recipe.base not in bases:
                bases[recipe.base] = _base(recipe, model, work)
            base = bases[recipe.base]
            if isinstance(base, OrillaError):
                raise base
            made[name] = _variant(name, recipe, base, work).read_bytes()
        except ConversionError as error:
            bases.setdefault(recipe.base, error)
            refused[name] = str(error)
    return made, refused


def _base(recipe: Recipe, model: Path, work: Path) -> Path:
    out = work / f"float{SUFFIXES[recipe.engine]}"
    worker.call(recipe.base, model=str(model), out=str(out))
    return out


def _variant(name: str, recipe: Recipe, base: Path, work: Path) -> Path:
    if recipe.quantise is None:
        return base
    out = work / f"{name}{SUFFIXES[recipe.engine]}"
    extra = {"calibration": str(work / "calibration.npy")} if recipe.calibrated else {}
    worker.call(recipe.quantise, source=str(base), out=str(out), **extra)
    return out


def _check_all(
    chosen: dict[str, Recipe],
    made: dict[str, bytes],
    reference: Reference,
    golden: _Golden,
    refused: dict[str, str],
    step: Callable[[str], None],
) -> tuple[list[Variant], dict[str, bytes]]:
    variants, files = [], {}
    for name, data in made.items():
        step(f"checking {name}")
        engine = chosen[name].engine
        try:
            session = registry.load_bytes(engine, data)
            checked = check(reference, session)
            known = answers(session, golden.prepared, golden.outputs.shape[1:])
            session.close()
        except OrillaError as error:
            refused[name] = str(error)
            continue
        file = f"variants/{name}{SUFFIXES[engine]}"
        files[file] = data
        own = {f"golden/{index:03d}.{name}.npy": pack(answer.astype(np.float16)) for index, answer in enumerate(known)}
        files |= own
        variants.append(Variant(name, file, engine, checked, tuple(own), TOLERANCE))
    return variants, files


def _default(variants: list[Variant], files: dict[str, bytes]) -> str:
    """The smallest variant that loses no more than it may, LiteRT before others; the best one where none does."""
    good = [variant for variant in variants if variant.check.drop <= MAX_DROP]
    if not good:
        return min(variants, key=lambda variant: variant.check.drop).name
    return min(good, key=lambda variant: (variant.engine != "litert", len(files[variant.file]))).name

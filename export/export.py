"""From a run folder to a bundle: convert once, quantise by recipe, check each variant, write."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConversionError, DataError, OrillaError
from orilla.export import samples, worker
from orilla.export.check import TOLERANCE, Reference, answers, check
from orilla.export.recipe import SUFFIXES, Recipe, recipes, select
from orilla.runtime import bundle as bundles
from orilla.runtime.card import Card
from orilla.runtime.datasets import Dataset, open_dataset
from orilla.runtime.engines import registry
from orilla.runtime.feed import Feed, Raw
from orilla.runtime.files import check_writable
from orilla.runtime.golden import pack, raw_digest
from orilla.runtime.manifest import SCHEMA, Golden, Manifest, Report, Variant
from orilla.runtime.measures import target_of
from orilla.runtime.run_folder import VOCABULARY, read_run
from orilla.runtime.text import decode_vocabulary

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
    prepared: NDArray[Any]
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
    vocabulary = _vocabulary(run) if card.task == "text" else None
    feed = Feed(settings.preprocess, decode_vocabulary(vocabulary) if vocabulary else ())
    dataset = _validation_data(options.validation or settings.data, card)
    with tempfile.TemporaryDirectory(prefix="orilla-") as temporary:
        work = Path(temporary)
        options.step("reading samples")
        prepared, truths = samples.validation(dataset, feed, options.validation_count)
        seen = samples.calibration(options.calibration or settings.data, feed, options.calibration_count, options.seed)
        np.save(work / "calibration.npy", seen.inputs)
        options.step("original model on validation data")
        outputs = _predict(model, prepared, work / "validation")
        reference = Reference(target_of(dataset, card.task, card.labels), truths, prepared, outputs)
        raws = samples.golden(options.golden, dataset, card, feed, options.golden_count)
        golden = _golden(model, raws, card, feed, options.golden_count, work)
        made, refused = _convert(model, chosen, work, options.step)
        variants, files = _check_all(chosen, made, reference, golden, refused, options.step)
    if not variants:
        name, reason = next(iter(refused.items()))
        raise ConversionError(f"no variant could be made: {name}: {reason}")
    files |= golden.files
    if vocabulary is not None:
        files[VOCABULARY] = vocabulary
    report = Report(
        data=f"{dataset.source.name} {dataset.checked}",
        sha256=dataset.digest(dataset.checked),
        count=len(prepared),
        calibration=seen.source,
        calibration_count=len(seen.inputs),
        calibration_sha256=seen.sha256,
        metrics=reference.metrics,
        refused=refused,
    )
    manifest = Manifest(
        schema=SCHEMA,
        name=card.model,
        task=card.task,
        labels=card.labels,
        preprocess=settings.preprocess,
        variants=tuple(variants),
        default=_default(variants, files),
        golden=golden.entries,
        card=card,
        report=report,
        files=bundles.entries(files),
        vocabulary=None if vocabulary is None else VOCABULARY,
    )
    bundles.write(out, manifest, files)
    return manifest


def _validation_data(spec: str, card: Card) -> Dataset:
    dataset = open_dataset(spec)
    if not {"val", "test"} & set(dataset.splits):
        raise DataError(f"data set {spec} has no val or test split to check against")
    target_of(dataset, card.task, card.labels)
    return dataset


def _vocabulary(run: Path) -> bytes:
    file = run / VOCABULARY
    if not file.is_file():
        raise DataError(f"not a run folder: {file} is missing; orilla train writes it")
    return file.read_bytes()


def _predict(model: Path, prepared: NDArray[np.uint8], stem: Path) -> NDArray[np.float32]:
    given, made = stem.with_suffix(".in.npy"), stem.with_suffix(".out.npy")
    np.save(given, prepared)
    worker.call("orilla.export.reference:predict", model=str(model), pictures=str(given), out=str(made))
    outputs: NDArray[np.float32] = np.load(made)
    return outputs


def _golden(model: Path, raws: list[tuple[str, Raw]], card: Card, feed: Feed, count: int, work: Path) -> _Golden:
    stored = [_store(raw, name) for name, raw in raws]
    prepared = np.stack([feed(raw).copy() for _, raw in stored])
    outputs = _predict(model, prepared, work / "golden")
    if card.task != "segment":
        chosen = samples.clear(outputs, count)
        stored, prepared, outputs = [stored[place] for place in chosen], prepared[chosen], outputs[chosen]
    files: dict[str, bytes] = {}
    entries = []
    for index, (data, raw) in enumerate(stored):
        stem = f"golden/{index:03d}"
        suffix, inputs = (".txt", ".tokens.npy") if feed.is_text else (".jpg", ".prepared.png")
        files |= {
            f"{stem}{suffix}": data,
            f"{stem}{inputs}": pack(prepared[index]) if feed.is_text else _png(prepared[index]),
            f"{stem}.output.npy": pack(outputs[index]),
        }
        entries.append(Golden(f"{stem}{suffix}", raw_digest(raw), f"{stem}{inputs}", f"{stem}.output.npy"))
    return _Golden(files, tuple(entries), prepared, outputs)


def _store(raw: Raw, name: str) -> tuple[bytes, Raw]:
    """A raw input as a bundle stores it, and what that decodes to."""
    if isinstance(raw, str):
        return raw.encode(), raw
    ok, jpeg = cv2.imencode(".jpg", raw, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise DataError(f"cannot store {name} as a golden frame")
    return jpeg.tobytes(), cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


def _png(image: NDArray[np.uint8]) -> bytes:
    data: bytes = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    return data


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
    """The smallest variant that loses no more than it may, LiteRT before others; the best one where none does.

    Integer weights with float activations come last: they are the smallest, and on convolutions often the slowest.
    """
    good = [variant for variant in variants if variant.check.drop <= MAX_DROP]
    if not good:
        return min(variants, key=lambda variant: variant.check.drop).name
    known = recipes()

    def rank(variant: Variant) -> tuple[bool, bool, int]:
        recipe = known[variant.name]
        mixed = recipe.activations == "float32" and recipe.weights.startswith("int")
        return variant.engine != "litert", mixed, len(files[variant.file])

    return min(good, key=rank).name

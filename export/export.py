"""From a trained model to a bundle: convert once, quantise by recipe, check each variant, write."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import ConfigError, ConversionError, DataError, OrillaError
from orilla.export import samples, timing, worker
from orilla.export.check import Reference, answers, check, tolerance
from orilla.export.recipe import GROUPS, SUFFIXES, Recipe, select
from orilla.export.samples import Drawn, Inputs
from orilla.export.subject import Subject, Told, open_subject
from orilla.runtime import bundle as bundles
from orilla.runtime.arrays import TensorPreprocess
from orilla.runtime.datasets import Dataset, LabelledImage
from orilla.runtime.datasets.labelled import Item
from orilla.runtime.engines import registry
from orilla.runtime.feed import Raw, raw_of
from orilla.runtime.files import check_writable
from orilla.runtime.golden import pack, raw_digest
from orilla.runtime.manifest import SCHEMA, Golden, Latency, Manifest, Report, Variant
from orilla.runtime.measures import target_of
from orilla.runtime.run_folder import VOCABULARY

MAX_DROP = 1.0
"""Points that a variant may lose and still be the default."""

GOOD_DROP, GOOD_AGREEMENT = 0.5, 0.99
"""A variant that loses no more, and decides as the original so often, is recommended before others."""

EQUALLY_FAST = 1.05
"""Variants whose medians are within this factor count as equally fast: the smaller one is recommended."""

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
    max_drop: float = MAX_DROP
    timing: bool = True
    """Without, the same model makes the same bytes."""
    told: Told = field(default_factory=Told)
    step: Callable[[str], None] = field(default=lambda text: None)
    """Told what is being done."""


@dataclass(frozen=True, slots=True)
class _Golden:
    files: dict[str, bytes]
    entries: tuple[Golden, ...]
    inputs: Inputs
    outputs: NDArray[np.float32]


def export(model: Path, out: Path, options: ExportOptions) -> Manifest:
    """Writes the bundle `out` from a run folder, a `.keras` or `.h5` file, or a SavedModel folder.

    Raises:
        ConfigError, DataError: options or data that can't be used.
        ConversionError: no variant could be made.
        OutputError: `out` cannot be written. Nothing is left half-written in any case.
    """
    chosen = select(options.recipes)
    check_writable(out)
    with tempfile.TemporaryDirectory(prefix="orilla-") as temporary:
        work = Path(temporary)
        options.step("reading the model")
        subject = open_subject(model, options.told, work)
        fitting, refused = _fit(chosen, subject, named=options.recipes not in GROUPS)
        options.step("reading samples")
        checked, seen, items, dataset = _draw(subject, fitting, options, work)
        raws = samples.golden(options.golden, dataset, items, subject, options.golden_count)
        options.step("original model on validation data")
        reference, golden = _original(subject, checked, dataset, items, raws, options.golden_count, work)
        made = _convert(subject.model, fitting, seen, work, refused, options.step)
        variants, files = _check_all(fitting, made, reference, golden, refused, options.step)
        if not variants:
            name, reason = next(iter(refused.items()))
            raise ConversionError(f"no variant could be made: {name}: {reason}")
        if options.timing:
            options.step("timing the variants in turns")
            variants = _timed(variants, files, checked.inputs)
        manifest = _manifest(subject, variants, golden, reference, checked, seen, refused, options)
        files |= golden.files
        if subject.vocabulary is not None:
            files[VOCABULARY] = subject.vocabulary
        manifest = _with_files(manifest, files, options.max_drop)
        options.step("writing the bundle")
        bundles.write(out, manifest, files)
    return manifest


def _fit(chosen: dict[str, Recipe], subject: Subject, *, named: bool) -> tuple[dict[str, Recipe], dict[str, str]]:
    """The recipes that are for this model, as they are for it; of those that are not, why, where they were named."""
    fitting = {name: recipe.fit(subject.facts) for name, recipe in chosen.items() if not recipe.unfit(subject.facts)}
    reasons = {name: str(recipe.unfit(subject.facts)) for name, recipe in chosen.items() if name not in fitting}
    if not fitting:
        name, reason = next(iter(reasons.items()))
        raise ConfigError(f"recipe {name} is not for this model: {reason}")
    return fitting, reasons if named else {}


def _draw(
    subject: Subject, fitting: dict[str, Recipe], options: ExportOptions, work: Path
) -> tuple[Drawn, Drawn | None, list[Item], Dataset]:
    """Samples to check on and to calibrate on, read and prepared."""
    calibration = options.calibration or subject.data
    validation = options.validation or subject.data or options.calibration
    needs = [name for name, recipe in fitting.items() if recipe.calibrated]
    if validation is None:
        raise ConfigError(
            "what is the model to be checked on? give --calibration DATA, and --validation DATA with labels"
        )
    if calibration is None and needs:
        raise ConfigError(f"{needs[0]} needs samples to calibrate on: give --calibration DATA, or other --recipes")
    dataset = samples.open_samples(validation, subject)
    if subject.card is not None and dataset.labelled:
        target_of(dataset, subject.task, subject.labels)
    other = None
    if needs and calibration is not None:
        other = dataset if calibration == validation else samples.open_samples(calibration, subject)
    calibrated_on, items = samples.divide(
        other, dataset, options.calibration_count, options.validation_count, options.seed
    )
    checked = samples.prepare(dataset, items, subject, work, "validation")
    if other is None:
        return checked, None, items, dataset
    seen = samples.prepare(other, calibrated_on, subject, work, "calibration")
    samples.check_calibration(seen, subject)
    return checked, seen, items, dataset


def _original(
    subject: Subject,
    checked: Drawn,
    dataset: Dataset,
    items: list[Item],
    raws: list[tuple[str, Raw]],
    count: int,
    work: Path,
) -> tuple[Reference, _Golden]:
    """What the original answers to the validation data and to the golden candidates, in one process."""
    stored = [_store(raw, name, subject) for name, raw in raws]
    prepared = [samples.named(subject, subject.feed(raw)) for _, raw in stored]
    candidates = {name: np.stack([one[name] for one in prepared]) for name in prepared[0]}
    for name, array in candidates.items():
        np.save(work / f"golden.{name}.npy", array)
    outs = {stem: work / f"{stem}.out.npy" for stem in ("validation", "golden")}
    jobs = [
        {"inputs": {name: str(work / f"{stem}.{name}.npy") for name in checked.inputs}, "out": str(out)}
        for stem, out in outs.items()
    ]
    (work / "jobs.json").write_text(json.dumps(jobs))
    worker.call("orilla.export.reference:predict", model=str(subject.model), jobs=str(work / "jobs.json"))
    outputs: NDArray[np.float32] = np.load(outs["validation"])
    _check_scores(subject, outputs)
    sizes = [_size(dataset, item, subject) for item in items]
    labelled = dataset.labelled and (subject.task != "tensor" or _has_values(checked, outputs))
    truths = checked.truths
    if not labelled:
        truths = samples.truths_of(outputs, [one.name for one in truths], subject.task, sizes)
    reference = Reference(
        target_of(dataset if labelled else _Unnamed(dataset, subject), subject.task, subject.labels),
        truths,
        checked.inputs,
        outputs,
        sizes,
        sums=subject.task in ("classify", "text") and outputs.ndim == 2 and outputs.shape[1] > 1,
    )
    return reference, _golden(subject, stored, candidates, np.load(outs["golden"]), count)


def _check_scores(subject: Subject, outputs: NDArray[np.float32]) -> None:
    """Raises `DataError` for answers that are no probabilities, where the task takes them for such."""
    low, high = float(outputs.min()), float(outputs.max())
    if subject.task != "tensor" and (low < -SLACK or high > 1 + SLACK):
        raise DataError(
            f"the model answers {low:.3g} to {high:.3g}, no probabilities: end it in softmax, or give --task tensor"
        )


SLACK = 1e-3
"""By which rounding may take a probability out of 0-1."""


class _Unnamed(Dataset):
    """Stands for a data set of which nothing is known but what the original says."""

    def __init__(self, dataset: Dataset, subject: Subject) -> None:
        self.source, self.task = dataset.source, subject.task
        self.classes = ("background", "mask") if subject.task == "segment" else ()

    splits = ()

    def names(self, split: str) -> tuple[str, ...]:
        raise NotImplementedError

    def load(self, split: str, index: int) -> Any:
        raise NotImplementedError

    def content(self, split: str, index: int) -> bytes:
        raise NotImplementedError


def _has_values(checked: Drawn, outputs: NDArray[np.float32]) -> bool:
    """Whether the truths of a model of arrays are values of its output; raises `DataError` where they are others."""
    size = outputs[0].size
    sizes = {np.size(one.value) for one in checked.truths}
    if sizes != {size}:
        raise DataError(f"y of {checked.source} has {max(sizes)} numbers for each sample, the model answers {size}")
    return True


def _size(dataset: Dataset, item: Item, subject: Subject) -> tuple[int, int] | None:
    """Of a segmentation's picture."""
    if subject.task != "segment":
        return None
    sample = dataset.load(*item)
    image = sample.image if isinstance(sample, LabelledImage) else raw_of(sample)
    assert isinstance(image, np.ndarray)
    return image.shape[0], image.shape[1]


def _golden(
    subject: Subject,
    stored: list[tuple[bytes, Raw]],
    inputs: Inputs,
    outputs: NDArray[np.float32],
    count: int,
) -> _Golden:
    if subject.task in ("classify", "text"):
        chosen = samples.clear(outputs, count)
        stored, outputs = [stored[place] for place in chosen], outputs[chosen]
        inputs = {name: array[chosen] for name, array in inputs.items()}
    suffix, prepared_suffix = {
        "picture": (".jpg", ".prepared.png"),
        "text": (".txt", ".tokens.npy"),
        "tensor": (".npy", ".npy"),
    }[subject.feed.kind]
    files: dict[str, bytes] = {}
    entries = []
    for index, (data, raw) in enumerate(stored):
        stem = f"golden/{index:03d}"
        one = samples.row(inputs, index)
        files[f"{stem}{suffix}"] = data
        if subject.feed.kind != "tensor":
            files[f"{stem}{prepared_suffix}"] = pack(np.asarray(one)) if subject.feed.is_text else _png(np.asarray(one))
        files[f"{stem}.output.npy"] = pack(outputs[index])
        digest = raw_digest(_packed(subject, raw) if subject.feed.kind == "tensor" else raw)
        entries.append(Golden(f"{stem}{suffix}", digest, f"{stem}{prepared_suffix}", f"{stem}.output.npy"))
    return _Golden(files, tuple(entries), inputs, outputs)


def _packed(subject: Subject, raw: Raw) -> NDArray[np.float64]:
    spec = subject.feed.spec
    assert isinstance(spec, TensorPreprocess)
    assert not isinstance(raw, np.ndarray | str)
    return spec.pack(raw)


def _store(raw: Raw, name: str, subject: Subject) -> tuple[bytes, Raw]:
    """A raw input as a bundle stores it, and what that decodes to."""
    if isinstance(raw, str):
        return raw.encode(), raw
    if not isinstance(raw, np.ndarray):
        return pack(_packed(subject, raw)), raw
    ok, jpeg = cv2.imencode(".jpg", raw, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not ok:
        raise DataError(f"cannot store {name} as a golden frame")
    return jpeg.tobytes(), cv2.imdecode(jpeg, cv2.IMREAD_COLOR)


def _png(image: NDArray[np.uint8]) -> bytes:
    data: bytes = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()
    return data


def _convert(
    model: Path,
    fitting: dict[str, Recipe],
    seen: Drawn | None,
    work: Path,
    refused: dict[str, str],
    step: Callable[[str], None],
) -> dict[str, bytes]:
    """Makes each recipe's file; a recipe that fails is refused with its reason, the others go on."""
    calibration = work / "calibration.npz"
    if seen is not None:
        samples.save_calibration(seen, calibration)
    bases: dict[str, Path | ConversionError] = {}
    made: dict[str, bytes] = {}
    for name, recipe in fitting.items():
        step(f"making {name}")
        if recipe.base not in bases:
            bases[recipe.base] = _base(recipe, model, calibration, work / f"base{len(bases)}")
        base = bases[recipe.base]
        if isinstance(base, ConversionError):
            refused[name] = str(base)
            continue
        try:
            made[name] = _variant(name, recipe, base, calibration, work).read_bytes()
        except ConversionError as error:
            refused[name] = str(error)
    return made


def _base(recipe: Recipe, model: Path, calibration: Path, stem: Path) -> Path | ConversionError:
    out = stem.with_suffix(SUFFIXES[recipe.engine])
    # A base that quantises sees the samples itself.
    extra = {"calibration": str(calibration)} if recipe.calibrated and recipe.quantise is None else {}
    try:
        worker.call(recipe.base, model=str(model), out=str(out), **extra)
    except ConversionError as error:
        return error
    return out


def _variant(name: str, recipe: Recipe, base: Path, calibration: Path, work: Path) -> Path:
    if recipe.quantise is None:
        return base
    out = work / f"{name}{SUFFIXES[recipe.engine]}"
    extra: dict[str, str] = dict(recipe.options)
    if recipe.calibrated:
        extra["calibration"] = str(calibration)
    worker.call(recipe.quantise, source=str(base), out=str(out), **extra)
    return out


def _check_all(
    fitting: dict[str, Recipe],
    made: dict[str, bytes],
    reference: Reference,
    golden: _Golden,
    refused: dict[str, str],
    step: Callable[[str], None],
) -> tuple[list[Variant], dict[str, bytes]]:
    variants, files = [], {}
    count = len(golden.outputs)
    for name, data in made.items():
        step(f"checking {name}")
        engine = fitting[name].engine
        try:
            session = registry.load_bytes(engine, data)
            checked = check(reference, session)
            known = answers(session, golden.inputs, range(count), golden.outputs.shape[1:])
            session.close()
        except OrillaError as error:
            refused[name] = str(error)
            continue
        file = f"variants/{name}{SUFFIXES[engine]}"
        files[file] = data
        own = {f"golden/{index:03d}.{name}.npy": pack(_half(answer)) for index, answer in enumerate(known)}
        files |= own
        allowed = tolerance(checked, reference.scale, rounded="int" in fitting[name].weights)
        variants.append(Variant(name, file, engine, checked, tuple(own), allowed))
    return variants, files


def _half(answer: NDArray[np.float32]) -> NDArray[np.generic]:
    """Probabilities are as good in float16; numbers that it can't hold stay as they are."""
    return answer.astype(np.float16) if float(np.abs(answer).max()) <= 1.0 else answer


def _timed(variants: list[Variant], files: dict[str, bytes], inputs: Inputs) -> list[Variant]:
    import msgspec

    found = timing.latencies({one.name: (one.engine, files[one.file]) for one in variants}, inputs)
    return [msgspec.structs.replace(one, latency=found[one.name]) for one in variants]


def _manifest(
    subject: Subject,
    variants: list[Variant],
    golden: _Golden,
    reference: Reference,
    checked: Drawn,
    seen: Drawn | None,
    refused: dict[str, str],
    options: ExportOptions,
) -> Manifest:
    report = Report(
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
        refused=refused,
    )
    return Manifest(
        schema=SCHEMA,
        name=subject.name,
        task=subject.task,
        labels=subject.labels,
        preprocess=subject.feed.spec,
        variants=tuple(variants),
        default=variants[0].name,
        golden=golden.entries,
        card=subject.card,
        report=report,
        files={},
        vocabulary=VOCABULARY if subject.vocabulary is not None else None,
    )


def _with_files(manifest: Manifest, files: dict[str, bytes], max_drop: float) -> Manifest:
    import msgspec

    sizes = {variant.name: len(files[variant.file]) for variant in manifest.variants}
    return msgspec.structs.replace(
        manifest, default=recommended(manifest.variants, sizes, max_drop), files=bundles.entries(files)
    )


def recommended(variants: tuple[Variant, ...], sizes: dict[str, int], max_drop: float = MAX_DROP) -> str:
    """The variant to run where nothing else is asked for: of those that lose little, the fastest here; LiteRT before
    others, which need an extra; of the equally fast, or where nothing was timed, the smallest. The one that loses
    least, where all lose too much."""
    good = [
        one for one in variants if one.check.drop <= min(GOOD_DROP, max_drop) and one.check.agreement >= GOOD_AGREEMENT
    ]
    good = good or [one for one in variants if one.check.drop <= max_drop]
    if not good:
        return min(variants, key=lambda one: one.check.drop).name
    good = [one for one in good if one.engine == "litert"] or good
    known = [one.latency for one in good if one.latency is not None]
    if len(known) == len(good):
        fastest = min(latency.p50_ms for latency in known)
        good = [one for one in good if _median(one.latency) <= EQUALLY_FAST * fastest]
    else:
        good = _without_mixed(good)
    return min(good, key=lambda one: sizes[one.name]).name


def _median(latency: Latency | None) -> float:
    return latency.p50_ms if latency is not None else float("inf")


def _without_mixed(variants: list[Variant]) -> list[Variant]:
    """Integer weights with float activations are the smallest, and on convolutions often the slowest: not untimed."""
    return [one for one in variants if not ("_wi" in one.name and "_afp32" in one.name)] or variants

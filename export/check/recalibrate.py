"""Show the samples on which int8 is worst, and use them for the calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from orilla.devices.errors import ConfigError
from orilla.export.build import Builder
from orilla.export.check.compare import SECONDS, OutputArrays, Reference
from orilla.export.check.variants import VariantChecks
from orilla.export.check.worst import Disagreement, missing_classes, outputs_of, worst_samples
from orilla.export.data.calibration import save_calibration
from orilla.export.data.prepared import SampleSet
from orilla.export.recipe import Recipe
from orilla.runtime.bundle.manifest import Recalibration, WorstFrame, WorstFrames
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.evaluation.datasets import Dataset
from orilla.runtime.preprocessing.tensor_spec import per_sample


@dataclass(frozen=True, slots=True)
class Worst:
    """The most accurate int8 variant of an export, and the samples on which it is worst."""

    variant: str
    samples: tuple[Disagreement, ...]
    outputs: OutputArrays
    """Outputs of the variant for all validation samples."""


def find_worst(checks: VariantChecks) -> Worst:
    """Return the worst samples of the int8 variant with the smallest drop.

    Raises:
        ConfigError: The export has no variant whose weights and activations are all quantised to 8 bits.
    """
    plain = [name for name in checks.variants if is_plain(checks.recipes[name])]
    if not plain:
        msg = "no int8 variant whose worst samples could be found: set `recipes` to include litert_wi8_ai8"
        raise ConfigError(msg)
    name = min(plain, key=lambda name: checks.variants[name].check.drop)
    engine = default_engine(checks.variants[name].format)
    outputs = outputs_of(engine, checks.models[name], checks.source, checks.reference)
    return Worst(name, tuple(worst_samples(checks.reference, outputs)), outputs)


def is_plain(recipe: Recipe) -> bool:
    """Return True if a recipe quantises all weights and activations to 8 bits."""
    return recipe.calibrated and recipe.quantise is not None and recipe.activations in ("int8", "uint8")


def describe(worst: Worst, calibration: SampleSet, reference: Reference, dataset: Dataset) -> WorstFrames:
    """Return the description of the worst samples for the report."""
    truths = [reference.truths[sample.place] for sample in worst.samples]
    missing = [] if reference.target.pseudo else missing_classes(truths, calibration.truths, dataset)
    frames = tuple(WorstFrame(sample.name, sample.agreement) for sample in worst.samples)
    return WorstFrames(worst.variant, frames, tuple(missing))


def recalibrate(worst: Worst, calibration: SampleSet, builder: Builder, checks: VariantChecks) -> Recalibration | None:
    """Build the variant again, with its worst samples added to the calibration data.

    The gain is measured on the other validation samples. The new variant is added to the checks if its drop on these
    samples is smaller.

    Args:
        worst: The variant and its worst samples.
        calibration: The calibration samples of the export.
        builder: Builder of the variants.
        checks: Checks of the variants.

    Returns:
        The gain, or None if the variant could not be built.
    """
    places = [sample.place for sample in worst.samples]
    inputs = {
        name: np.concatenate([array, checks.reference.inputs[name][places]])
        for name, array in calibration.inputs.items()
    }
    truths = [*calibration.truths, *(checks.reference.truths[place] for place in places)]
    file = builder.work.folder / "recalibration.npz"
    save_calibration(replace(calibration, inputs=inputs, truths=truths), checks.source, file)
    plain = checks.recipes[worst.variant]
    recipe = msgspec.structs.replace(plain, options={**plain.options, "calibration": str(file)})
    name = f"{worst.variant}_recalibrated"
    models, failed = builder.build({name: recipe})
    if failed:
        return None
    outputs = outputs_of(default_engine(recipe.format), models[name], checks.source, checks.reference)
    rest = sorted(set(range(len(checks.reference.truths))) - set(places))
    before, after = (_drop(checks.reference, found, rest) for found in (worst.outputs, outputs))
    if after < before:
        checks.try_model(name, recipe, models[name], SECONDS)
    return Recalibration(len(rest), before, after, kept=after < before)


def _drop(reference: Reference, outputs: OutputArrays, places: Sequence[int]) -> float:
    """Return the drop of the primary metric on some of the validation samples, in percentage points."""
    values = []
    for arrays in (reference.outputs, outputs):
        chosen = {name: array[places] for name, array in arrays.items()}
        pairs = zip((reference.truths[place] for place in places), per_sample(chosen), strict=True)
        values.append(reference.target.metrics(pairs).metrics()[reference.target.task.metric])
    return 100 * (values[0] - values[1])

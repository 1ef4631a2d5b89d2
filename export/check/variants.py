"""Check the variants of one export, measure their latencies, and choose the default variant."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from orilla.devices.cores import available_cores
from orilla.devices.errors import ConversionError, OrillaError
from orilla.devices.progress import Progress
from orilla.export.check import timing
from orilla.export.check.compare import Reference, answers, check, tolerance
from orilla.export.check.file_tensors import file_tensors
from orilla.export.check.golden import GoldenData
from orilla.export.failures import all_reasons
from orilla.export.recipe import SUFFIXES, Recipe
from orilla.export.recommend import recommended
from orilla.export.source_model import SourceModel
from orilla.runtime.bundle.golden import encode_outputs
from orilla.runtime.bundle.manifest import Check, Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.loader import MAX_THREADS
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.preprocessing.tensor_spec import Outputs, per_sample


@dataclass
class VariantChecks:
    """The model files of an export, and the results of their checks."""

    models: dict[str, bytes]
    """Content of the model file of each variant."""
    recipes: dict[str, Recipe]
    source: SourceModel
    reference: Reference
    golden: GoldenData
    failed: dict[str, str]
    """For each variant that cannot be used, its name and the reason. `check` adds the variants that it rejects."""
    progress: Progress
    variants: dict[str, Variant] = field(default_factory=dict)
    _answers: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def check(self, seconds: float | None) -> None:
        """Compare every variant with the original model.

        Args:
            seconds: Time limit for each variant, in seconds. If None, every variant is checked on all samples.

        Raises:
            ConversionError: No variant can be used.
        """
        for number, name in enumerate(self.models, 1):
            self.progress.status(f"checking variant {number} of {len(self.models)}: {name}")
            self._check_variant(name, seconds)
        self._require_variant()

    def try_model(self, name: str, recipe: Recipe, data: bytes, seconds: float | None) -> Check | None:
        """Add or replace a variant, and check it.

        Args:
            name: Name of the variant.
            recipe: Recipe of the variant.
            data: Content of the model file.
            seconds: Time limit of the check, in seconds. If None, all samples are used.

        Returns:
            The result of the check, or None if the variant cannot be used.
        """
        self.models[name], self.recipes[name] = data, recipe
        self.failed.pop(name, None)
        self._check_variant(name, seconds)
        return self.variants[name].check if name in self.variants else None

    def remove(self, name: str) -> None:
        """Remove a variant, if there is one with this name."""
        for table in (self.models, self.recipes, self.variants, self.failed):
            table.pop(name, None)

    def time(self) -> None:
        """Measure the latency of each variant, and store it in the variant."""
        self.progress.status("measuring the latency of the variants")
        files = {name: (default_engine(variant.format), self.models[name]) for name, variant in self.variants.items()}
        for name, latency in timing.latencies(files, self.reference.inputs).items():
            self.variants[name] = msgspec.structs.replace(self.variants[name], latency=latency)

    def choose_default(self, max_drop: float) -> str:
        """Return the name of the recommended variant, after a check of this variant on all samples.

        Raises:
            ConversionError: No variant can be used.
        """
        count, task = len(self.reference.truths), self.reference.target.task
        while True:
            self._require_variant()
            sizes = {name: len(self.models[name]) for name in self.variants}
            # A variant for an accelerator is the default only if there is no other, because the machine may lack it.
            usual = [variant for name, variant in self.variants.items() if self.recipes[name].accelerator is None]
            among = tuple(usual or self.variants.values())
            name = recommended(among, sizes, max_drop, task.good_agreement)
            if self.variants[name].check.count == count:
                return name
            self.progress.status(f"checking {name} on all samples")
            self._check_variant(name, None)

    def files(self) -> dict[str, bytes]:
        """Return the files of the variants and their golden outputs. The keys are paths in the bundle."""
        files: dict[str, bytes] = {}
        for name, variant in self.variants.items():
            files |= {variant.file: self.models[name], **self._answers[name]}
        return files

    def _check_variant(self, name: str, seconds: float | None) -> None:
        recipe, before = self.recipes[name], self.variants.get(name)
        threads = min(available_cores(), MAX_THREADS)
        try:
            engine = default_engine(recipe.format)
            loaded = loader.load_bytes(engine, self.models[name], threads=threads, binding=self.source.binding)
            with closing(loaded) as session:
                result = check(self.reference, session, seconds=seconds)
                places = range(len(self.golden.entries))
                outputs = answers(session, self.golden.inputs, places, self.golden.outputs)
                tensors = file_tensors(session, self.source)
        except OrillaError as error:
            self.failed[name] = str(error)
            self.variants.pop(name, None)
            return
        if before is None:
            self._answers[name] = {
                f"golden/{index:03d}.{name}.npy": encode_outputs(output, self.source.outputs, _golden_dtype(output))
                for index, output in enumerate(per_sample(outputs))
            }
        self.variants[name] = Variant(
            name=name,
            file=f"variants/{name}{SUFFIXES[recipe.format]}",
            format=recipe.format,
            weights=recipe.weights,
            activations=recipe.activations,
            inputs=tensors[0],
            outputs=tensors[1],
            check=result,
            golden=tuple(self._answers[name]),
            tolerance=tolerance(result, self.reference, outputs, self.golden.outputs, rounded="int" in recipe.weights),
            latency=None if before is None else before.latency,
        )

    def _require_variant(self) -> None:
        if not self.variants:
            msg = f"no variant can be used: {all_reasons(self.failed)}"
            raise ConversionError(msg)


def _golden_dtype(outputs: Outputs) -> type[np.floating[Any]]:
    """Return float16 if the absolute values of all outputs are at most 1, else float32."""
    return np.float16 if max(float(np.abs(array).max()) for array in outputs.values()) <= 1.0 else np.float32

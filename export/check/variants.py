"""Check, time and recommend the variants of one export."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import msgspec

from orilla.devices.cores import available_cores
from orilla.devices.errors import ConversionError, OrillaError
from orilla.export.check import timing
from orilla.export.check.compare import Reference, answers, check, tolerance
from orilla.export.check.golden import GoldenData, half
from orilla.export.recipe import SUFFIXES, Recipe
from orilla.export.recommend import recommended
from orilla.runtime.bundle.golden import pack
from orilla.runtime.bundle.manifest import Variant
from orilla.runtime.engines import loader
from orilla.runtime.engines.loader import MAX_THREADS


@dataclass
class Checking:
    """The model files of an export and the results of their checks."""

    made: dict[str, bytes]
    recipes: dict[str, Recipe]
    reference: Reference
    golden: GoldenData
    failed: dict[str, str]
    """Reason of each variant that cannot be used; `check` adds to it."""
    step: Callable[[str], None]
    variants: dict[str, Variant] = field(default_factory=dict)
    _answers: dict[str, dict[str, bytes]] = field(default_factory=dict)

    def check(self, seconds: float | None) -> None:
        """Check every variant.

        Args:
            seconds: Time limit of one variant. None checks all samples.

        Raises:
            ConversionError: No variant can be used.
        """
        for name in self.made:
            self.step(f"checking {name}")
            self._one(name, seconds)
        self._require_one()

    def time(self) -> None:
        """Add latencies."""
        self.step("timing the variants")
        files = {name: (one.engine, self.made[name]) for name, one in self.variants.items()}
        for name, found in timing.latencies(files, self.reference.inputs).items():
            self.variants[name] = msgspec.structs.replace(self.variants[name], latency=found)

    def settle(self, max_drop: float) -> str:
        """Return the recommended variant, and check it on all samples.

        Raises:
            ConversionError: No variant can be used.
        """
        count = len(self.reference.truths)
        while True:
            self._require_one()
            sizes = {name: len(self.made[name]) for name in self.variants}
            name = recommended(tuple(self.variants.values()), sizes, max_drop)
            if self.variants[name].check.count == count:
                return name
            self.step(f"checking {name} on all samples")
            self._one(name, None)

    def files(self) -> dict[str, bytes]:
        """Return the files of the variants for the bundle."""
        found: dict[str, bytes] = {}
        for name, variant in self.variants.items():
            found |= {variant.file: self.made[name], **self._answers[name]}
        return found

    def _one(self, name: str, seconds: float | None) -> None:
        recipe, before = self.recipes[name], self.variants.get(name)
        threads = min(available_cores(), MAX_THREADS)
        try:
            with closing(loader.load_bytes(recipe.engine, self.made[name], threads=threads)) as session:
                found = check(self.reference, session, seconds=seconds)
                shape = self.golden.outputs.shape
                known = answers(session, self.golden.inputs, range(shape[0]), shape[1:])
                if before is None:
                    self._answers[name] = {
                        f"golden/{index:03d}.{name}.npy": pack(half(answer)) for index, answer in enumerate(known)
                    }
        except OrillaError as error:
            self.failed[name] = str(error)
            self.variants.pop(name, None)
            return
        self.variants[name] = Variant(
            name,
            f"variants/{name}{SUFFIXES[recipe.engine]}",
            recipe.engine,
            found,
            tuple(self._answers[name]),
            tolerance(found, self.reference, known, self.golden.outputs, rounded="int" in recipe.weights),
            None if before is None else before.latency,
        )

    def _require_one(self) -> None:
        if not self.variants:
            name, reason = next(iter(self.failed.items()))
            msg = f"no variant could be built: {name}: {reason}"
            raise ConversionError(msg)

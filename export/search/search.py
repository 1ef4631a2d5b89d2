"""Search for int8 variants whose accuracy drops by at most a given number of points."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from orilla.devices.errors import ConversionError
from orilla.export.build import Builder
from orilla.export.check.compare import SECONDS
from orilla.export.check.recalibrate import is_plain
from orilla.export.check.variants import VariantChecks
from orilla.export.convert import fork_server
from orilla.export.recipe import Recipe
from orilla.export.search.sensitivity import Ranking
from orilla.runtime.bundle.manifest import Check, Search, SearchStep
from orilla.runtime.engines.registry import default_engine
from orilla.runtime.tflite.names import short_name

RANK_SHARE = 0.5
"""Measuring the blocks of one format takes at most this share of the remaining time."""

MAX_NAMES = 3
"""Maximum number of blocks that a step names."""


@dataclass(frozen=True, slots=True)
class _Format:
    """The functions and calibration methods that make the int8 variants of one format."""

    rank: str
    """Function that ranks the blocks."""
    quantise: str
    """Function that quantises with a calibration method, and keeps some operators in float."""
    methods: tuple[str, ...]
    """Calibration methods. The first one is the method of the plain int8 recipe."""


FORMATS = {
    "tflite": _Format(
        "orilla.export.search.sensitivity:rank_litert",
        "orilla.export.quantize.litert:partial",
        ("MinMax", "Percentile"),
    ),
    "onnx": _Format(
        "orilla.export.search.sensitivity:rank_onnx",
        "orilla.export.quantize.onnx:static_int8",
        ("MinMax", "Percentile", "Entropy"),
    ),
}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A variant that was built and checked during the search."""

    data: bytes
    recipe: Recipe
    check: Check
    kept: int
    """Number of blocks in float."""


@dataclass(frozen=True, slots=True)
class _Mixed:
    """The variants of one format that keep some blocks in float."""

    name: str
    """Name of the variant."""
    format: _Format
    plain: Recipe
    ranking: Ranking

    def recipe(self, method: str, count: int) -> Recipe:
        """Return the recipe that keeps the `count` most sensitive blocks in float."""
        kept = [key for block in self.ranking.blocks[:count] for key in block.keys]
        return _partial(self.plain, self.format, method, [*kept, *self.ranking.always_float])

    def change(self, method: str, count: int) -> str:
        """Describe the recipe in words."""
        names = ", ".join(short_name(block.name) for block in self.ranking.blocks[: min(count, MAX_NAMES)])
        more = ", …" if count > MAX_NAMES else ""
        return f"{method}, {count} of {len(self.ranking.blocks)} blocks in float32: {names}{more}"


@dataclass
class PrecisionSearch:
    """A search for one export.

    For each format, the search tries other calibration methods first. Then it keeps as few blocks in float as needed,
    starting with those whose quantisation changes the outputs most.
    """

    builder: Builder
    checks: VariantChecks
    max_drop: float
    seconds: float
    """Time limit, in seconds."""
    _steps: list[SearchStep] = field(default_factory=list)
    _ends: float = 0.0
    _complete: bool = True
    _problem: str = ""
    """Reason why the last variant could not be built. Empty if all could be built."""

    def run(self) -> Search | None:
        """Search, and add the best variant of each format to the checks.

        Returns:
            The steps of the search, or None if no search is needed, because a plain int8 variant is accurate enough or
            because the recipes contain none.
        """
        plain = {name: variant for name, variant in self.checks.variants.items() if is_plain(self.checks.recipes[name])}
        if not plain or any(variant.check.drop <= self.max_drop for variant in plain.values()):
            return None
        self._ends = time.monotonic() + self.seconds
        for name, variant in plain.items():
            self._note(name, "int8", variant.check)
        # Several plain variants of one format differ in their calibration. The search starts from the first one.
        started: set[str] = set()
        for name, variant in plain.items():
            if variant.format not in started:
                started.add(variant.format)
                self._search_format(variant.format, self.checks.recipes[name])
        return Search(self.max_drop, tuple(self._steps), self._complete)

    def _search_format(self, format_: str, plain: Recipe) -> None:
        engine = default_engine(format_)
        name = f"{engine}_wi8_ai8_searched"
        best: _Candidate | None = None
        self._problem = ""
        for candidate in self._candidates(name, FORMATS[format_], plain):
            better = best is None or (self._accepts(candidate.check), -candidate.check.drop) > (
                self._accepts(best.check),
                -best.check.drop,
            )
            fewer = best is not None and self._accepts(candidate.check) and candidate.kept < best.kept
            if better or fewer:
                best = candidate
        self.checks.remove(name)
        if best is not None:
            self.checks.try_model(name, best.recipe, best.data, None)
        elif self._problem:
            self.checks.failed[name] = self._problem

    def _candidates(self, name: str, format_: _Format, plain: Recipe) -> Iterator[_Candidate]:
        """Build and check variants until the fewest blocks in float are found, or the time is over."""
        method, drop = format_.methods[0], self._plain_drop(plain.format)
        for other in format_.methods[1:]:
            candidate = self._try(name, _partial(plain, format_, other, []), f"calibration method {other}", 0)
            if candidate is None:
                continue
            yield candidate
            if self._accepts(candidate.check):
                return
            if candidate.check.drop < drop:
                method, drop = other, candidate.check.drop
        ranking = self._rank(format_, plain)
        if ranking is not None:
            yield from self._mixed(_Mixed(name, format_, plain, ranking), method)

    def _mixed(self, mixed: _Mixed, method: str) -> Iterator[_Candidate]:
        """Build and check variants with some blocks in float: 1, 2, 4, 8 and so on, and then fewer by bisection."""
        few, many, count = 0, len(mixed.ranking.blocks), 1  # `few` blocks are not enough. `many` may be all blocks.
        while many - few > 1:
            candidate = self._try(mixed.name, mixed.recipe(method, count), mixed.change(method, count), count)
            if candidate is not None:
                yield candidate
            elif self._over():
                return
            if candidate is not None and self._accepts(candidate.check):
                many = count
            else:
                few = count
            count = min(2 * few, (few + many) // 2) if many == len(mixed.ranking.blocks) else (few + many) // 2

    def _try(self, name: str, recipe: Recipe, change: str, kept: int) -> _Candidate | None:
        """Build and check a variant. Return None if it cannot be built, or if the time is over."""
        if self._over():
            return None
        self.builder.progress.status(f"search: {change}")
        models, failed = self.builder.build({name: recipe})
        if name in failed:
            self._problem = failed[name]
            return None
        self.checks.remove(name)
        check = self.checks.try_model(name, recipe, models[name], SECONDS)
        if check is not None and self._accepts(check) and check.count < len(self.checks.reference.truths):
            check = self.checks.try_model(name, recipe, models[name], None)
        if check is None:
            return None
        self._note(name, change, check)
        return _Candidate(models[name], recipe, check, kept)

    def _rank(self, format_: _Format, plain: Recipe) -> Ranking | None:
        if self._over():
            return None
        self.builder.progress.status("search: quantising each block alone")
        out = self.builder.work.folder / "ranking.json"
        left = self._ends - time.monotonic()
        try:
            fork_server.call(
                format_.rank,
                source=str(self.builder.base(plain)),
                calibration=str(self.builder.work.calibration),
                out=str(out),
                seconds=RANK_SHARE * left,
            )
        except ConversionError as error:
            self._problem = str(error)
            return None
        ranking = msgspec.json.decode(out.read_bytes(), type=Ranking)
        if ranking.measured < len(ranking.blocks):
            self._complete = False
        return ranking

    def _over(self) -> bool:
        if time.monotonic() < self._ends:
            return False
        self._complete = False
        return True

    def _accepts(self, check: Check) -> bool:
        return check.drop <= self.max_drop

    def _plain_drop(self, format_: str) -> float:
        drops = [
            variant.check.drop
            for name, variant in self.checks.variants.items()
            if variant.format == format_ and is_plain(self.checks.recipes[name])
        ]
        return min(drops)

    def _note(self, name: str, change: str, check: Check) -> None:
        self._steps.append(SearchStep(name, change, check.drop, check.count, self._accepts(check)))


def _partial(plain: Recipe, format_: _Format, method: str, kept: list[str]) -> Recipe:
    """Return a recipe that keeps operators in float."""
    options: dict[str, str | list[str]] = {"method": method}
    if kept or plain.format == "tflite":
        options["keep_float"] = kept
    return msgspec.structs.replace(
        plain,
        quantise=format_.quantise,
        options=options,
        weights=plain.weights + ("; float32 in some layers" if kept else ""),
        activations=plain.activations + ("; float32 in some layers" if kept else ""),
    )

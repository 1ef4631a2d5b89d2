"""Compare the variants of a bundle: find the dominated variants and the knee, and explain the choice of the default.

A variant is dominated if another one is at least as accurate, as fast and as small, and better in one of the three. The
variants that are not dominated form the Pareto front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.tasks.registry import task_of

LOST_DROP = 10.0
"""Drop in points above which a variant has lost its accuracy. Such a variant has failed, even if it gives the same
outputs on every machine."""

EQUALLY_FAST = 1.05
"""Largest ratio of two medians that count as equally fast."""

POINTS = 2
"""Number of decimals to which drops are rounded before they are compared."""

MIN_SCALE = 0.1
"""For the knee, a drop of `max_drop` points counts as much as a doubling of the time or size. If `max_drop` is smaller,
this number of points is used instead."""


@dataclass(frozen=True, slots=True)
class Pareto:
    """Comparison of the variants by accuracy, latency and size."""

    objectives: tuple[str, ...]
    """The compared figures: `drop`, `p50_ms` and `bytes`. Without measured latencies, `p50_ms` is missing."""
    front: tuple[str, ...]
    """Names of the variants that are not dominated, in the order of the manifest."""
    knee: str
    """Name of the Pareto variant that is the best compromise."""
    dominated: dict[str, str]
    """For each dominated variant, its name and the name of a variant that dominates it."""

    @property
    def figures(self) -> str:
        """Return readable names of the compared figures."""
        return "accuracy, time and size" if "p50_ms" in self.objectives else "accuracy and size"

    @property
    def is_alone(self) -> bool:
        """Return True if there is only one variant."""
        return len(self.front) + len(self.dominated) == 1


@dataclass(frozen=True, slots=True)
class _Figures:
    name: str
    drop: float
    """Drop in points. A gain counts as 0, because it is due to chance."""
    p50_ms: float | None
    bytes: int

    def dominates(self, other: _Figures) -> bool:
        is_fast = is_faster = False
        if self.p50_ms is None or other.p50_ms is None:
            is_fast = True
        else:
            is_fast = self.p50_ms <= EQUALLY_FAST * other.p50_ms
            is_faster = EQUALLY_FAST * self.p50_ms < other.p50_ms
        is_better = is_faster or self.drop < other.drop or self.bytes < other.bytes
        return is_fast and is_better and self.drop <= other.drop and self.bytes <= other.bytes


def pareto(manifest: Manifest, max_drop: float) -> Pareto:
    """Compare the variants of a bundle.

    The knee is the variant of the front that is nearest to an ideal variant. The ideal variant has no drop, and the
    smallest time and size on the front. Twice the time, twice the size and a drop of `max_drop` count equally. Variants
    with a larger drop are the knee only if the front has no other.

    Args:
        manifest: The manifest of the bundle.
        max_drop: Largest drop of accuracy that is allowed for the default variant, in points.
    """
    is_timed = all(variant.latency is not None for variant in manifest.variants)
    every = [_figures(manifest, variant, is_timed=is_timed) for variant in manifest.variants]
    front = [figures for figures in every if not any(other.dominates(figures) for other in every)]
    dominated = {
        figures.name: next(other.name for other in (*front, *every) if other.dominates(figures))
        for figures in every
        if figures not in front
    }
    return Pareto(
        objectives=("drop", "p50_ms", "bytes") if is_timed else ("drop", "bytes"),
        front=tuple(figures.name for figures in front),
        knee=_knee(front, max_drop),
        dominated=dominated,
    )


def _figures(manifest: Manifest, variant: Variant, *, is_timed: bool) -> _Figures:
    latency = variant.latency
    return _Figures(
        variant.name,
        max(0.0, round(variant.check.drop, POINTS)),
        latency.p50_ms if is_timed and latency is not None else None,
        manifest.files[variant.file].size,
    )


def _knee(front: list[_Figures], max_drop: float) -> str:
    allowed = [figures for figures in front if figures.drop <= max_drop] or front
    smallest = min(figures.bytes for figures in allowed)
    fastest = min((figures.p50_ms for figures in allowed if figures.p50_ms is not None), default=1.0)
    scale = max(max_drop, MIN_SCALE)

    def distance(figures: _Figures) -> float:
        slower = 0.0 if figures.p50_ms is None else math.log2(figures.p50_ms / fastest)
        return math.hypot(figures.drop / scale, slower, math.log2(figures.bytes / smallest))

    return min(allowed, key=distance).name


def lost_accuracy(manifest: Manifest, variant: Variant) -> str | None:
    """Return a sentence if a variant has lost its accuracy at export. Otherwise, return None."""
    if variant.check.drop <= LOST_DROP:
        return None
    metric = task_of(manifest.task).metric
    return (
        f"it lost its accuracy at export: {metric} {variant.check.metrics[metric]:.4f} instead of "
        f"{manifest.report.metrics[metric]:.4f}"
    )


def why_default(manifest: Manifest, max_drop: float) -> str:
    """Return one sentence with the reason why the default variant is the default.

    Args:
        manifest: The manifest of the bundle.
        max_drop: Largest drop of accuracy that was allowed for the default variant, in points.
    """
    default = manifest.variant(manifest.default)
    drop = default.check.drop
    accuracy = f"its drop of {drop:.2f} points"
    if drop > max_drop:
        return (
            f"The drop of every variant is above the allowed {max_drop:g}: {default.name} has the smallest one, "
            f"{drop:.2f} points, and is the default."
        )
    largest = _full_precision(manifest, default)
    if largest is None or largest is default:
        others = sum(variant.check.drop > max_drop for variant in manifest.variants)
        excluded = f"; {others} of the other variants drop by more than that" if others else ""
        return f"{default.name} is the default, and {accuracy} is within the allowed {max_drop:g}{excluded}."
    gains = [f"{manifest.files[default.file].size / manifest.files[largest.file].size:.2f} times the size"]
    if default.latency is not None and largest.latency is not None:
        gains.insert(0, f"{default.latency.p50_ms / largest.latency.p50_ms:.2f} times the time")
    return (
        f"{default.name} is the default because it has {' and '.join(gains)} of {largest.name}, and {accuracy} is "
        f"within the allowed {max_drop:g}."
    )


def _full_precision(manifest: Manifest, default: Variant) -> Variant | None:
    """Return the float32 variant, in the format of the default if there is one."""
    full = [variant for variant in manifest.variants if variant.full_precision]
    return min(full, key=lambda variant: variant.format != default.format, default=None)

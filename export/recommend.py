"""Choose the default variant of a bundle, and the variants that a robot needs."""

from __future__ import annotations

import contextlib

from orilla.devices.errors import ConfigError
from orilla.runtime.bundle.comparison import EQUALLY_FAST
from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.bundle.rungs import exact_variant
from orilla.runtime.engines.registry import ENGINES

MAX_DROP = 1.0
"""Largest drop of accuracy that is allowed for the default variant, in points."""

GOOD_DROP, GOOD_AGREEMENT = 0.5, 0.99
"""Largest drop, in points, and smallest agreement of a preferred variant. A task may specify a different agreement."""

PREFERRED_FORMAT = next(iter(ENGINES.values())).format
"""Format of the first engine, which the base installation contains."""


def recommended(
    variants: tuple[Variant, ...],
    sizes: dict[str, int],
    max_drop: float = MAX_DROP,
    agreement: float = GOOD_AGREEMENT,
) -> str:
    """Return the name of the default variant.

    The default variant is the fastest on this machine among those whose accuracy drops little. LiteRT variants are
    preferred to variants for engines that need an extra. Among equally fast variants, the smallest is chosen. If
    latencies were not measured, the smallest of all is chosen. If every drop is larger than `max_drop`, the variant
    with the smallest drop is chosen.

    Args:
        variants: The variants with their checks.
        sizes: Size of each variant in bytes.
        max_drop: Largest drop of accuracy that is allowed, in points.
        agreement: Smallest agreement of a preferred variant.
    """
    drop = min(GOOD_DROP, max_drop)
    good = [variant for variant in variants if variant.check.drop <= drop and variant.check.agreement >= agreement]
    good = good or [variant for variant in variants if variant.check.drop <= max_drop]
    if not good:
        return min(variants, key=lambda variant: variant.check.drop).name
    good = [variant for variant in good if variant.format == PREFERRED_FORMAT] or good
    times_ms = {variant.name: variant.latency.p50_ms for variant in good if variant.latency is not None}
    if len(times_ms) == len(good):
        fastest = min(times_ms.values())
        good = [variant for variant in good if times_ms[variant.name] <= EQUALLY_FAST * fastest]
    else:
        good = _without_mixed(good)
    return min(good, key=lambda variant: sizes[variant.name]).name


def for_robot(manifest: Manifest, max_drop: float) -> tuple[str, ...]:
    """Return the names of the variants that a robot needs, in the order of the bundle.

    They are the default variant, a float32 variant as the reference for checks on the robot, the best variant of each
    other format, and the variants that are compiled for an accelerator.

    Args:
        manifest: The manifest with all variants.
        max_drop: Largest drop of accuracy that was allowed for the default variant, in points.
    """
    default = manifest.variant(manifest.default)
    names = {default.name, *(variant.name for variant in manifest.variants if variant.compiled)}
    with contextlib.suppress(ConfigError):  # A quantised file that was imported has no float32 variant.
        names.add(exact_variant(manifest, default.format).name)
    sizes = {variant.name: manifest.files[variant.file].size for variant in manifest.variants}
    for other in {variant.format for variant in manifest.variants} - {default.format}:
        readable = tuple(variant for variant in manifest.variants if variant.format == other)
        names.add(recommended(readable, sizes, max_drop))
    return tuple(variant.name for variant in manifest.variants if variant.name in names)


def _without_mixed(variants: list[Variant]) -> list[Variant]:
    """Return the variants except those with integer weights and float activations, or all if no variant would remain.

    Such variants are the smallest, but often the slowest on convolutions, so they are chosen only by latency.
    """
    return [variant for variant in variants if not ("_wi" in variant.name and "_afp32" in variant.name)] or variants

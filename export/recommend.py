"""Choose the default variant of a bundle."""

from __future__ import annotations

from orilla.runtime.bundle.manifest import Variant

MAX_DROP = 1.0
"""Accuracy that the default variant may lose, points."""

GOOD_DROP, GOOD_AGREEMENT = 0.5, 0.99
"""Drop and agreement within which variants are preferred."""

EQUALLY_FAST = 1.05
"""Factor within which medians count as equally fast; the smaller variant is then preferred."""


def recommended(variants: tuple[Variant, ...], sizes: dict[str, int], max_drop: float = MAX_DROP) -> str:
    """Return the name of the default variant.

    Among variants with a small loss, it is the fastest on this machine. LiteRT comes before engines that need an extra.
    Among equally fast variants, or without timing, it is the smallest. If all lose too much, it is the one that loses
    least.
    """
    drop = min(GOOD_DROP, max_drop)
    good = [variant for variant in variants if variant.check.drop <= drop and variant.check.agreement >= GOOD_AGREEMENT]
    good = good or [variant for variant in variants if variant.check.drop <= max_drop]
    if not good:
        return min(variants, key=lambda variant: variant.check.drop).name
    good = [variant for variant in good if variant.engine == "litert"] or good
    times_ms = {variant.name: variant.latency.p50_ms for variant in good if variant.latency is not None}
    if len(times_ms) == len(good):
        fastest = min(times_ms.values())
        good = [variant for variant in good if times_ms[variant.name] <= EQUALLY_FAST * fastest]
    else:
        good = _without_mixed(good)
    return min(good, key=lambda variant: sizes[variant.name]).name


def _without_mixed(variants: list[Variant]) -> list[Variant]:
    """Return the variants without those with integer weights and float activations.

    They are the smallest, but often the slowest on convolutions, so they need timing.
    """
    return [variant for variant in variants if not ("_wi" in variant.name and "_afp32" in variant.name)] or variants

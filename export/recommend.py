"""Choose the default variant of a bundle."""

from __future__ import annotations

from orilla.runtime.bundle.manifest import Latency, Variant

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
    """Return the variants without those with integer weights and float activations.

    They are the smallest, but often the slowest on convolutions, so they need timing.
    """
    return [one for one in variants if not ("_wi" in one.name and "_afp32" in one.name)] or variants

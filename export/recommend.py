"""Which of a bundle's variants runs where nothing else is asked for."""

from __future__ import annotations

from orilla.runtime.bundle.manifest import Latency, Variant

MAX_DROP = 1.0
"""Points that a variant may lose and still be the default."""

GOOD_DROP, GOOD_AGREEMENT = 0.5, 0.99
"""A variant that loses no more, and decides as the original so often, is recommended before others."""

EQUALLY_FAST = 1.05
"""Variants whose medians are within this factor count as equally fast: the smaller one is recommended."""


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

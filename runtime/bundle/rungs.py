"""Choose the variants that run in addition to the main one: the rungs of a ladder, and the float32 variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from orilla.devices.errors import ConfigError, unknown_name
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Manifest, Variant
from orilla.runtime.tasks.registry import task_of

FASTER_SHARE = 0.8
"""A variant is chosen as a rung if its latency at export is at most this share of the latency of the rung before it."""


class RungChoice(NamedTuple):
    """A variant that is a rung of a ladder."""

    bundle: Bundle
    variant: Variant
    name: str
    """Name in messages and statistics: the variant, or `BUNDLE/VARIANT` for another bundle."""


def rungs_of(
    bundle: Bundle, first: Variant, names: Sequence[str], can_run: Callable[[Variant], bool]
) -> list[RungChoice]:
    """Return the rungs of a ladder, starting with the best.

    Args:
        bundle: The opened bundle.
        first: The variant that is loaded. It is the first rung.
        names: Names of the other rungs, as in `Ladder.rungs`. If empty, the faster variants of the bundle are chosen.
        can_run: Function that returns True if this machine can run a variant. It limits the automatic choice.

    Raises:
        ConfigError: There is no other rung, a rung is given twice, or a bundle has a different task or different
            labels.
        BundleError: A bundle cannot be read.
    """
    if names:
        others = [_named(bundle, name) for name in names]
    else:
        others = [RungChoice(bundle, variant, variant.name) for variant in _faster(bundle, first, can_run)]
    chosen = [RungChoice(bundle, first, first.name), *others]
    keys = [(rung.bundle.path.resolve(), rung.variant.name) for rung in chosen]
    for place, rung in enumerate(chosen):
        if keys[place] in keys[:place]:
            msg = f"`rungs`: {rung.name} is given twice; the first rung is the variant that is opened"
            raise ConfigError(msg)
    return chosen


def exact_variant(manifest: Manifest, file_format: str) -> Variant:
    """Return the float32 variant of a bundle, in the given format if there is one.

    Raises:
        ConfigError: The bundle has no float32 variant.
    """
    exact = [variant for variant in manifest.variants if variant.full_precision]
    if not exact:
        names = ", ".join(variant.name for variant in manifest.variants)
        msg = f"{manifest.name} has no float32 variant: export it with one, or name another variant: {names}"
        raise ConfigError(msg)
    return min(exact, key=lambda variant: variant.format != file_format)


def _named(bundle: Bundle, name: str) -> RungChoice:
    if any(variant.name == name for variant in bundle.manifest.variants):
        return RungChoice(bundle, bundle.manifest.variant(name), name)
    path, _, variant = (name, "", "") if Path(name).exists() else name.partition(":")
    try:
        other = Bundle.open(path, every_file=False, trust=bundle.trust)
    except ConfigError:  # The name is neither a path nor the name of a shipped bundle.
        raise unknown_name(name, [one.name for one in bundle.manifest.variants], kind="rung") from None
    for key in ("task", "labels"):
        ours, theirs = getattr(bundle.manifest, key), getattr(other.manifest, key)
        if ours != theirs:
            msg = f"`rungs`: {name} has the {key} {_text(theirs)}, but {bundle.path.name} has {_text(ours)}"
            raise ConfigError(msg)
    chosen = other.manifest.variant(variant or other.manifest.default)
    return RungChoice(other, chosen, f"{other.path.stem}/{chosen.name}")


def _text(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)[:100]


def _faster(bundle: Bundle, first: Variant, can_run: Callable[[Variant], bool]) -> list[Variant]:
    """Return variants that are faster than the first one, starting with the most accurate.

    A variant is omitted if a faster variant is as accurate, or if the previous rung is almost as fast.
    """
    metric = task_of(bundle.manifest.task).metric
    best: list[Variant] = []
    for variant in sorted(filter(can_run, bundle.manifest.variants), key=_p50_ms):
        if not best or variant.check.metrics[metric] > best[-1].check.metrics[metric]:
            best.append(variant)
    chosen, limit_ms = [], FASTER_SHARE * _p50_ms(first)
    for variant in reversed(best):
        if _p50_ms(variant) <= limit_ms:
            chosen.append(variant)
            limit_ms = FASTER_SHARE * _p50_ms(variant)
    if not chosen:
        msg = (
            f"`rungs`: {bundle.path.name} has no variant that was clearly faster than {first.name} at export: open a "
            "slower, more accurate variant, or name the rungs"
        )
        raise ConfigError(msg)
    return chosen


def _p50_ms(variant: Variant) -> float:
    return float("inf") if variant.latency is None else variant.latency.p50_ms

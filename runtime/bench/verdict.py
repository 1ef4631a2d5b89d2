"""Compare two results.

The comparison gives the ratios of their percentiles with confidence intervals, and a verdict.
"""

from __future__ import annotations

import math
import statistics
from typing import Literal

import msgspec

from orilla.devices.errors import ConfigError
from orilla.runtime.bench.reference_workload import SLOWER
from orilla.runtime.bench.result import Result, describe, merge
from orilla.runtime.bench.samples import PERCENTS, Z

MARGIN = 3.0
"""Largest difference in per cent between two runs of the same subject on an undisturbed machine. Such runs differ
because each process has its own memory layout, and because the clock frequency varies by some megahertz."""

Word = Literal["same", "faster", "slower"]


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Change of one percentile from result A to result B."""

    percentile: str
    a_ms: float
    b_ms: float
    percent: float
    """Change in per cent: positive if B is slower, negative if B is faster."""
    plus_minus: float
    """Half the width of the 95 % interval in per cent."""
    verdict: Word


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Verdict of a comparison. It depends on p50 only."""

    verdict: Word
    percent: float
    plus_minus: float
    margin: float
    a: str
    b: str
    headline: str
    changes: tuple[Change, ...]
    """Changes of p50, p90 and p99. A percentile is omitted if A or B has too few samples for it."""
    memory_mib: tuple[float, float] | None
    notes: tuple[str, ...]
    invalid: tuple[str, ...] = ()
    """Reasons why A or B is not valid, which makes the verdict unreliable. Empty if both are valid."""


def compare(a: list[Result], b: list[Result], *, margin: float = MARGIN) -> Verdict:
    """Compare runs of A with runs of B, on the same machine and in the same scenario.

    The verdict is `slower` or `faster` if the whole interval of the ratio lies beyond the margin.

    Args:
        a: One or several runs of subject A.
        b: One or several runs of subject B.
        margin: Differences up to this percentage count as equal.

    Raises:
        ConfigError: The machines or scenarios differ, there are too few samples, or `a` or `b` mixes subjects.
    """
    merged_a, merged_b = merge(a), merge(b)
    _require_comparable(merged_a, merged_b)
    changes = [change for percent in PERCENTS if (change := _change(a, b, percent, margin)) is not None]
    if not changes or changes[0].percentile != "p50":
        counts = f"{merged_a.main.count} and {merged_b.main.count}, of which many are correlated"
        msg = f"too few samples to compare ({counts}): measure longer"
        raise ConfigError(msg)
    first = changes[0]
    notes = _notes(merged_a, merged_b)
    if first.verdict == "same" and abs(first.percent) + first.plus_minus > 2 * margin:
        notes.append(
            f"± {first.plus_minus:.1f} % is too wide to detect a small difference: measure longer, or several times"
        )
    grown = [side.cold_start.memory_mib if side.cold_start else None for side in (merged_a, merged_b)]
    memory = (grown[0], grown[1]) if grown[0] is not None and grown[1] is not None else None
    return Verdict(
        first.verdict,
        first.percent,
        first.plus_minus,
        margin,
        describe(merged_a.subject),
        describe(merged_b.subject),
        merged_a.headline,
        tuple(changes),
        memory,
        tuple(notes),
        _invalid(merged_a, merged_b),
    )


def _require_comparable(a: Result, b: Result) -> None:
    if a.host.identity != b.host.identity:
        msg = (
            f"A was measured on {a.host.identity}, B on {b.host.identity}: times from different machines cannot be "
            "compared; orilla report shows them side by side"
        )
        raise ConfigError(msg)
    if (a.subject.scenario, a.subject.streams) != (b.subject.scenario, b.subject.streams):
        msg = f"A ran {a.subject.scenario}, but B ran {b.subject.scenario}: measure both with the same scenario"
        raise ConfigError(msg)


def _invalid(a: Result, b: Result) -> tuple[str, ...]:
    return tuple(
        f"{side}: {reason}"
        for side, result in (("A", a), ("B", b))
        for reason in (*result.invalid, *(() if result.complete else ("it was interrupted",)))
    )


def _notes(a: Result, b: Result) -> list[str]:
    """Return notes about differences that limit the comparison of A and B."""
    notes = []
    if a.interference is not None and b.interference is not None:
        ratio = b.interference.quiet_ns / a.interference.quiet_ns
        if a.host.python == b.host.python and not 1 / SLOWER < ratio < SLOWER:
            notes.append(
                f"the machine itself was {max(ratio, 1 / ratio):.2f} times slower in {'B' if ratio > 1 else 'A'}"
            )
    for what in ("bundle", "variant", "engine_version", "threads"):
        was, now = getattr(a.subject, what), getattr(b.subject, what)
        if was != now:
            notes.append(f"{what.replace('_version', '')}: {was} in A, {now} in B")
    if a.subject.bundle == b.subject.bundle and a.subject.sha256 != b.subject.sha256:
        notes.append(f"{a.subject.bundle} differs between A and B")
    return notes


def _change(a: list[Result], b: list[Result], percent: float, margin: float) -> Change | None:
    estimate_a, estimate_b = _estimate(a, percent), _estimate(b, percent)
    if estimate_a is None or estimate_b is None:
        return None
    difference, spread = estimate_b[0] - estimate_a[0], Z * math.hypot(estimate_a[1], estimate_b[1])
    low, high, edge = difference - spread, difference + spread, math.log1p(margin / 100)
    word: Word = "slower" if low > edge else "faster" if high < -edge else "same"
    return Change(
        f"p{percent:g}",
        round(math.exp(estimate_a[0]), 4),
        round(math.exp(estimate_b[0]), 4),
        round(100 * math.expm1(difference), 2),
        round(50 * (math.exp(high) - math.exp(low)), 2),
        word,
    )


def _estimate(results: list[Result], percent: float) -> tuple[float, float] | None:
    """Return the logarithm of a percentile and its standard error, which includes the variation between runs."""
    pooled = merge(results).main.at(percent)
    if pooled is None or (error := pooled.error) is None:
        return None
    singles = [math.log(percentile.ms) for result in results if (percentile := result.main.at(percent)) is not None]
    if len(singles) > 1:
        error = max(error, statistics.stdev(singles) / math.sqrt(len(singles)))
    return math.log(pooled.ms), error

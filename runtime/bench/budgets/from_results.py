"""Compare existing results with budgets. Nothing is measured."""

from __future__ import annotations

from collections.abc import Sequence

from orilla.devices.budget import RATIOS, TIMES, Budget
from orilla.devices.spec import catalog
from orilla.runtime.bench.budgets.limits import LimitResult, cold_figure, held, ratio_figure, time_figure
from orilla.runtime.bench.result import Result

FULL = "_fp32"
"""Part of the names of full-precision variants."""


def judge_result(budget: Budget, result: Result, others: Sequence[Result] = ()) -> list[LimitResult]:
    """Compare a result with the limits of a budget that it has figures for.

    Args:
        budget: The budget.
        result: The result.
        others: Further results, among them possibly one of the full-precision variant on the same machine.
    """
    subject = result.subject
    if budget.bundle != subject.bundle or subject.scenario != "single-stream":
        return []
    # A budget without a variant belongs to the bundle's default. If there is a smaller variant, that is never the
    # full-precision one.
    if subject.variant != budget.variant if budget.variant is not None else FULL in subject.variant:
        return []
    if budget.engine not in (None, subject.engine) or budget.threads not in (None, subject.threads):
        return []
    if budget.device is not None and not _is_device(result, budget.device):
        return []
    whole = next((one for one in others if _compares_with(result, one)), None)
    found = []
    for key, limit in budget.limits().items():
        if (figures := _figure_of(result, whole, key)) is not None:
            value, figure = figures
            found.append(held(subject.bundle, subject.variant, key, value, figure, limit))
    return found


def _is_device(result: Result, device: str) -> bool:
    spec = catalog().devices[device]
    return (
        result.host.description.startswith(spec.match) if spec.match else f", {spec.arch}, " in result.host.description
    )


def _compares_with(result: Result, other: Result) -> bool:
    same = [
        (one.subject.bundle, one.subject.scenario, one.subject.engine, one.subject.threads, one.host.identity)
        for one in (result, other)
    ]
    return other is not result and FULL in other.subject.variant and same[0] == same[1]


def _figure_of(result: Result, whole: Result | None, key: str) -> tuple[float, str] | None:
    """Return a figure of a result with its description, or None."""
    if key in ("start_ms", "memory_mib"):
        unknown = result.cold_start is None or (key == "memory_mib" and result.cold_start.memory_mib is None)
        return None if unknown or result.cold_start is None else cold_figure(result.cold_start, key)
    if key == "max_drop":
        found = result.accuracy
        if found is None or found.drop is None:
            return None
        return found.drop, f"{found.drop:+.2f} points ({found.count} of {found.data} {found.split})"
    if key not in (*TIMES, *RATIOS):
        return None
    one = result.main.at(percent := float(key[1:].partition("_")[0]))
    other = whole.main.at(percent) if whole is not None else None
    if one is None or (key in RATIOS and other is None):
        return None
    if key not in RATIOS or other is None or whole is None:
        return time_figure(one)
    return ratio_figure(one, other, whole.subject.variant)

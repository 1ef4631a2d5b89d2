"""Compare stored results with budgets, without measuring."""

from __future__ import annotations

from collections.abc import Sequence

from orilla.devices.budget import RATIOS, TIMES, Budget
from orilla.devices.spec import catalog
from orilla.runtime.bench.budgets.limits import (
    Figure,
    LimitResult,
    cold_start_figure,
    drop_figure,
    judge_figure,
    percent_of,
    ratio_figure,
    time_figure,
)
from orilla.runtime.bench.result import Result

FULL_PRECISION = "_fp32"
"""Suffix in the names of full-precision variants, such as `litert_fp32`."""


def judge_result(budget: Budget, result: Result, others: Sequence[Result] = ()) -> list[LimitResult]:
    """Compare a stored result with the limits of a budget.

    A limit is skipped if the result does not contain the figure for it.

    Args:
        budget: The budget.
        result: The result. If the budget is for another bundle, variant, engine or device, the list is empty.
        others: Other results. Ratios compare `result` with the first of these that measured the full-precision variant
            under the same conditions.
    """
    if not _applies(budget, result):
        return []
    subject = result.subject
    reference = next((other for other in others if _is_reference(result, other)), None)
    figures = {key: _figure(result, reference, key) for key in budget.limits()}
    return [
        judge_figure(subject.bundle, subject.variant, key, figure, budget.limits()[key])
        for key, figure in figures.items()
        if figure is not None
    ]


def _applies(budget: Budget, result: Result) -> bool:
    subject = result.subject
    if budget.bundle != subject.bundle or subject.scenario != "single-stream":
        return False
    # A budget without `variant` applies to the default variant, which is never the full-precision variant.
    if FULL_PRECISION in subject.variant if budget.variant is None else subject.variant != budget.variant:
        return False
    if budget.engine not in (None, subject.engine) or budget.threads not in (None, subject.threads):
        return False
    return budget.device is None or _is_device(result, budget.device)


def _is_device(result: Result, device: str) -> bool:
    spec = catalog().devices[device]
    if spec.match:
        return result.host.description.startswith(spec.match)
    return f", {spec.arch}, " in result.host.description


def _is_reference(result: Result, other: Result) -> bool:
    """Return True if `other` measured the full-precision variant under the same conditions as `result`."""
    conditions = [
        (
            candidate.subject.bundle,
            candidate.subject.scenario,
            candidate.subject.engine,
            candidate.subject.threads,
            candidate.host.identity,
        )
        for candidate in (result, other)
    ]
    return other is not result and FULL_PRECISION in other.subject.variant and conditions[0] == conditions[1]


def _figure(result: Result, reference: Result | None, key: str) -> Figure | None:
    """Return the figure for the limit `key`, or None if the result does not contain it."""
    cold_start = result.cold_start
    if key in ("start_ms", "memory_mib"):
        unknown = cold_start is None or (key == "memory_mib" and cold_start.memory_mib is None)
        return None if unknown or cold_start is None else cold_start_figure(cold_start, key)
    if key == "max_drop":
        accuracy = result.accuracy
        if accuracy is None or accuracy.drop is None:
            return None
        return drop_figure(accuracy.drop, f"{accuracy.count} samples of {accuracy.data} {accuracy.split}")
    if key not in (*TIMES, *RATIOS) or (percentile := result.main.at(percent_of(key))) is None:
        return None
    if key in TIMES:
        return time_figure(percentile)
    base = reference.main.at(percent_of(key)) if reference is not None else None
    if base is None or reference is None:
        return None
    return ratio_figure(percentile, base, reference.subject.variant)

"""Compare one figure with one limit of a budget, and give the reason if the limit is not met."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from orilla.devices.budget import Range
from orilla.devices.errors import ConfigError
from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.result import ColdStart
from orilla.runtime.bench.samples import Percentile, Z

Status = Literal["met", "exceeded", "implausible", "elsewhere"]
"""`implausible` is better than the lower limit; `elsewhere` is a budget of another device."""


class LimitResult(msgspec.Struct, frozen=True):
    """Result of one limit of a budget."""

    bundle: str
    variant: str
    limit: str
    """Key of the budget."""
    value: float | None
    figure: str
    """Figure with its unit, interval and source, as text."""
    allowed: str
    status: Status
    reason: str | None
    """Reason why the limit is not met, one line."""

    @property
    def passed(self) -> bool:
        """Return True if the limit is met or does not apply."""
        return self.status in ("met", "elsewhere")


def held(bundle: str, variant: str, key: str, value: float, figure: str, limit: Range) -> LimitResult:
    """Compare a figure with its limit."""
    if math.isnan(value) or value > limit.most:
        status: Status = "exceeded"
    elif value < limit.least:
        status = "exceeded" if key.startswith("min_") else "implausible"
    else:
        status = "met"
    return LimitResult(
        bundle,
        variant,
        key,
        value,
        figure,
        allowed(key, limit),
        status,
        _reason(bundle, variant, key, figure, limit, status),
    )


def allowed(key: str, limit: Range) -> str:
    """Format a limit."""
    if key.startswith("min_"):
        return f"at least {limit.least:g}"
    return f"{limit.least:g} to {limit.most:g}" if limit.least > 0 else f"at most {limit.most:g}"


def _reason(bundle: str, variant: str, key: str, figure: str, limit: Range, status: Status) -> str | None:
    if status == "met":
        return None
    name = f"{bundle} {variant}: {key} is {figure}"
    if status == "implausible":
        return f"{name}, below {limit.least:g}: implausibly good; check that the whole model ran"
    return f"{name}, {'at least' if key.startswith('min_') else 'at most'} {_edge(key, limit):g} is allowed"


def _edge(key: str, limit: Range) -> float:
    return limit.least if key.startswith("min_") else limit.most


def cold_figure(found: ColdStart, key: str) -> tuple[float, str]:
    """Return start-up time or memory with its description. Raises `ConfigError` if the machine does not report it."""
    if key == "start_ms":
        return found.start_ms, f"{found.start_ms:.0f} ms"
    if found.memory_mib is None:
        msg = "memory_mib: this machine does not report the memory of a process"
        raise ConfigError(msg)
    return found.memory_mib, f"{found.memory_mib:.1f} MiB"


def ratio_figure(one: Percentile, other: Percentile, name: str) -> tuple[float, str]:
    """Return the ratio to the full-precision variant `name` with its description."""
    ratio, low, high = ratio_of(one, other)
    return ratio, f"{ratio:.3f}{span(low, high)} of {name}'s {milliseconds(other.ms)} ms"


def ratio_of(one: Percentile, other: Percentile) -> tuple[float, float | None, float | None]:
    """Return a ratio of percentiles with its 95 % interval, from the errors of both."""
    ratio, errors = one.ms / other.ms, (one.error, other.error)
    if errors[0] is None or errors[1] is None:
        return ratio, None, None
    spread = math.exp(Z * math.hypot(errors[0], errors[1]))
    return ratio, ratio / spread, ratio * spread


def time_figure(one: Percentile) -> tuple[float, str]:
    """Return a percentile with its description."""
    return one.ms, f"{milliseconds(one.ms)} ms{span(one.low_ms, one.high_ms)}"


def span(low: float | None, high: float | None) -> str:
    """Format an interval in brackets, if it is bounded."""
    return "" if low is None or high is None else f" ({milliseconds(low)}–{milliseconds(high)})"

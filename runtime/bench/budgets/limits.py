"""Compare one figure with one limit of a budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import msgspec

from orilla.devices.budget import Range
from orilla.devices.errors import ConfigError
from orilla.runtime.bench.numbers import milliseconds
from orilla.runtime.bench.result import ColdStart
from orilla.runtime.bench.samples import Percentile, Z

Status = Literal["met", "exceeded", "implausible", "elsewhere"]
"""`implausible`: the figure is so much better than the limit that the measurement is probably wrong. `elsewhere`: the
budget is for another device, so nothing was measured."""


class LimitResult(msgspec.Struct, frozen=True):
    """One limit of a budget and the figure that was compared with it."""

    bundle: str
    variant: str
    limit: str
    """Name of the limit, for example `p90_ms`."""
    value: float | None
    """The figure, or None if the budget is for another device."""
    figure: str
    """String with the figure, its unit and, if known, its 95 % confidence interval and the data that was used."""
    allowed: str
    status: Status
    reason: str | None
    """One-line explanation if the limit is not met, else None."""

    @property
    def passed(self) -> bool:
        """True if the limit is met, or if the budget is for another device."""
        return self.status in ("met", "elsewhere")


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure, and the string that reports print for it."""

    value: float
    text: str


def judge_figure(bundle: str, variant: str, key: str, figure: Figure, limit: Range) -> LimitResult:
    """Compare a figure with its limit.

    Args:
        bundle: Name of the bundle.
        variant: Name of the variant.
        key: Name of the limit.
        figure: The figure.
        limit: The allowed range.
    """
    status = _status(key, figure.value, limit)
    reason = None if status == "met" else f"{bundle} {variant}: {key} is {figure.text}, {_reason(key, limit, status)}"
    return LimitResult(bundle, variant, key, figure.value, figure.text, allowed(key, limit), status, reason)


def _status(key: str, value: float, limit: Range) -> Status:
    if math.isnan(value) or value > limit.high:
        return "exceeded"
    if value < limit.low:
        return "exceeded" if key.startswith("min_") else "implausible"
    return "met"


def allowed(key: str, limit: Range) -> str:
    """Return the string that reports print for a limit, for example `at most 20`."""
    if key.startswith("min_"):
        return f"at least {limit.low:g}"
    return f"{limit.low:g} to {limit.high:g}" if limit.low > 0 else f"at most {limit.high:g}"


def _reason(key: str, limit: Range, status: Status) -> str:
    if status == "implausible":
        return f"below {limit.low:g}, which is implausibly good: check that the whole model ran"
    if key.startswith("min_"):
        return f"at least {limit.low:g} is allowed"
    return f"at most {limit.high:g} is allowed"


def percent_of(key: str) -> float:
    """Return the percentile in the name of a limit: 90 for `p90_ms` and `p90_ratio`."""
    return float(key[1:].partition("_")[0])


def cold_start_figure(cold_start: ColdStart, key: str) -> Figure:
    """Return a figure with the start-up time or the memory use of a cold start.

    Args:
        cold_start: The measured cold start.
        key: `start_ms` or `memory_mib`.

    Raises:
        ConfigError: The operating system does not report how much memory a process uses.
    """
    if key == "start_ms":
        return Figure(cold_start.start_ms, f"{cold_start.start_ms:.0f} ms")
    if cold_start.memory_mib is None:
        msg = "memory_mib cannot be checked: this machine does not report how much memory a process uses"
        raise ConfigError(msg)
    return Figure(cold_start.memory_mib, f"{cold_start.memory_mib:.1f} MiB")


def drop_figure(drop: float, origin: str) -> Figure:
    """Return a figure with an accuracy drop in percentage points.

    `origin` describes the data on which the drop was measured.
    """
    return Figure(drop, f"{drop:+.2f} points ({origin})")


def ratio_figure(percentile: Percentile, reference: Percentile, name: str) -> Figure:
    """Return a figure with the ratio of two percentiles and its 95 % confidence interval.

    Args:
        percentile: The percentile of the variant.
        reference: The same percentile of the full-precision variant.
        name: Name of the full-precision variant.
    """
    ratio, errors = percentile.ms / reference.ms, (percentile.error, reference.error)
    interval = ""
    if errors[0] is not None and errors[1] is not None:
        spread = math.exp(Z * math.hypot(errors[0], errors[1]))
        interval = _interval(ratio / spread, ratio * spread)
    return Figure(ratio, f"{ratio:.3f}{interval} of {name}'s {milliseconds(reference.ms)} ms")


def time_figure(percentile: Percentile) -> Figure:
    """Return a figure with a percentile and its 95 % confidence interval."""
    text = f"{milliseconds(percentile.ms)} ms{_interval(percentile.low_ms, percentile.high_ms)}"
    return Figure(percentile.ms, text)


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({milliseconds(low)}–{milliseconds(high)})"

"""Measure the figures of a bundle on this machine and compare them with a budget."""

from __future__ import annotations

from pathlib import Path

import msgspec

from orilla.devices.budget import RATIOS, TIMES, Budget, Range
from orilla.devices.detect import Machine, detect
from orilla.devices.errors import ConfigError
from orilla.devices.spec import Catalog, catalog
from orilla.runtime.bench.budgets.limits import LimitResult, allowed, cold_figure, held, ratio_figure, time_figure
from orilla.runtime.bench.budgets.measurement import MAX_S, Measurement
from orilla.runtime.bench.samples import min_samples
from orilla.runtime.bundle.bundle import Bundle

AGAIN = 2
"""Number of repetitions before an exceeded time limit counts."""


def holds_here(budget: Budget, machine: Machine, known: Catalog | None = None) -> bool:
    """Return True if the budget's device is this machine.

    The board decides, or the architecture if the catalogue has no such board.
    """
    if budget.device is None:
        return True
    known = known or catalog()
    spec = known.devices[budget.device]
    if spec.match:
        return known.of_board(machine.board) == budget.device
    return spec.arch == machine.arch


def judge(
    measurement: Measurement, *, machine: Machine | None = None, known: Catalog | None = None
) -> list[LimitResult]:
    """Compare every limit of a budget with a measured figure. An exceeded time limit is measured again first."""
    subject = measurement.subject
    budget, machine = subject.budget, machine or detect()
    if not holds_here(budget, machine, known):
        figure = f"not measured: this machine is not a {budget.device}"
        names = subject.bundle.path.stem, subject.variant.name
        return [
            LimitResult(*names, key, None, figure, allowed(key, limit), "elsewhere", None)
            for key, limit in budget.limits().items()
        ]
    found = {key: _judge(measurement, key, limit) for key, limit in budget.limits().items()}
    for turn in range(1, AGAIN + 1):
        broken = [key for key, one in found.items() if not one.passed and key in (*TIMES, *RATIOS)]
        if not broken:
            break
        measurement.again(broken, turn)
        for key in broken:
            one = _judge(measurement, key, budget.limits()[key])
            reason = f"{one.reason} (measured {turn + 1} times)" if one.reason else None
            found[key] = msgspec.structs.replace(one, reason=reason)
    return list(found.values())


def _judge(measurement: Measurement, key: str, limit: Range) -> LimitResult:
    subject = measurement.subject
    value, figure = _figure(measurement, key)
    return held(subject.bundle.path.stem, subject.variant.name, key, value, figure, limit)


def _figure(measurement: Measurement, key: str) -> tuple[float, str]:
    """Return a figure with its description."""
    subject = measurement.subject
    if key in ("start_ms", "memory_mib"):
        return cold_figure(measurement.measure_cold_start(), key)
    if key in ("max_drop", "min_agreement"):
        found = measurement.answers()
        if key == "max_drop":
            return found.drop, f"{found.drop:+.2f} points ({found.drop_from})"
        return found.agreement, f"{found.agreement:.4f} ({found.agreement_from})"
    size = subject.bundle.manifest.files[subject.variant.file].size
    if key == "max_mib":
        return size / 2**20, f"{size / 2**20:.2f} MiB"
    if key == "size_ratio":
        assert subject.reference is not None
        bundle, variant = subject.reference
        ratio = size / bundle.manifest.files[variant.file].size
        return ratio, f"{ratio:.3f} of {variant.name}'s"
    percent = float(key[1:].partition("_")[0])
    return _time_figure(measurement, percent, relative=key.endswith("_ratio"))


def _time_figure(measurement: Measurement, percent: float, *, relative: bool) -> tuple[float, str]:
    timed = measurement.timed()
    one = timed.summary.at(percent)
    if one is None:
        msg = (
            f"{measurement.subject.bundle.path.stem}: p{percent:g} needs {min_samples(percent)} samples, but only "
            f"{len(timed.times_ms)} were measured in {MAX_S:g} s: use a lower percentile for this model"
        )
        raise ConfigError(msg)
    if not relative:
        return time_figure(one)
    assert timed.reference is not None
    assert measurement.subject.reference is not None
    other = timed.reference.at(percent)
    if other is None:
        msg = (
            f"{measurement.subject.bundle.path.stem}: p{percent:g} needs {min_samples(percent)} samples, but the full-"
            f"precision variant gave {timed.reference.count} in {MAX_S:g} s: use a lower percentile for this model"
        )
        raise ConfigError(msg)
    return ratio_figure(one, other, measurement.subject.reference[1].name)


def applying(budgets: list[Budget], bundle: Bundle, where: Path) -> list[Budget]:
    """Return the budgets of a bundle, by its name. Raises `ConfigError` if there is none."""
    name = bundle.path.stem
    found = [budget for budget in budgets if budget.bundle == name]
    if not found:
        names = ", ".join(dict.fromkeys(budget.bundle for budget in budgets))
        msg = f"{where} has no budget for {name} (it has {names})"
        raise ConfigError(msg)
    return found

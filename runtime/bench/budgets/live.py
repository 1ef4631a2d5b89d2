"""Measure a bundle on this machine and compare it with its budget."""

from __future__ import annotations

from pathlib import Path

import msgspec

from orilla.devices.budget import RATIOS, TIMES, Budget, Range
from orilla.devices.detect import Machine, detect
from orilla.devices.errors import ConfigError
from orilla.devices.spec import Catalog, catalog
from orilla.runtime.bench.budgets.limits import (
    Figure,
    LimitResult,
    allowed,
    cold_start_figure,
    drop_figure,
    judge_figure,
    percent_of,
    ratio_figure,
    time_figure,
)
from orilla.runtime.bench.budgets.measurement import MAX_S, Measurement
from orilla.runtime.bench.samples import Percentile, Summary, min_samples
from orilla.runtime.bundle.bundle import Bundle

RETRIES = 2
"""Maximum number of repeated measurements for a time that exceeds its limit. If the last measurement also exceeds the
limit, the check fails."""


def holds_here(budget: Budget, machine: Machine, devices: Catalog | None = None) -> bool:
    """Return True if the budget's device is this machine.

    A machine is recognised by the name of its board, or by its architecture if the catalogue has no board name for the
    device.

    Args:
        budget: The budget. If it names no device, it applies to every machine.
        machine: The machine.
        devices: The catalogue. If None, the shipped catalogue is used.
    """
    if budget.device is None:
        return True
    devices = devices or catalog()
    spec = devices.devices[budget.device]
    if spec.match:
        return devices.of_board(machine.board) == budget.device
    return spec.arch == machine.arch


def judge(
    measurement: Measurement, *, machine: Machine | None = None, devices: Catalog | None = None
) -> list[LimitResult]:
    """Measure every figure that a budget limits, and compare it with its limit.

    A time that exceeds its limit is measured again up to `RETRIES` times before the check of the limit fails.

    Args:
        measurement: The measurements of the bundle.
        machine: The machine. If None, this machine is used.
        devices: The catalogue. If None, the shipped catalogue is used.

    Raises:
        ConfigError: A figure cannot be measured.
    """
    subject = measurement.subject
    budget, limits = subject.budget, subject.budget.limits()
    if not holds_here(budget, machine or detect(), devices):
        names = subject.bundle.path.stem, subject.variant.name
        elsewhere = f"not measured: this machine is not a {budget.device}"
        return [
            LimitResult(*names, key, None, elsewhere, allowed(key, limit), "elsewhere", None)
            for key, limit in limits.items()
        ]
    verdicts = {key: _judge(measurement, key, limit) for key, limit in limits.items()}
    for retry in range(1, RETRIES + 1):
        failed = [key for key, verdict in verdicts.items() if not verdict.passed and key in (*TIMES, *RATIOS)]
        if not failed:
            break
        measurement.repeat(failed, retry)
        for key in failed:
            verdict = _judge(measurement, key, limits[key])
            reason = f"{verdict.reason} (measured {retry + 1} times)" if verdict.reason else None
            verdicts[key] = msgspec.structs.replace(verdict, reason=reason)
    return list(verdicts.values())


def _judge(measurement: Measurement, key: str, limit: Range) -> LimitResult:
    subject = measurement.subject
    return judge_figure(subject.bundle.path.stem, subject.variant.name, key, _figure(measurement, key), limit)


def _figure(measurement: Measurement, key: str) -> Figure:
    if key in ("start_ms", "memory_mib"):
        return cold_start_figure(measurement.cold_start(), key)
    if key in ("max_drop", "min_agreement"):
        answers = measurement.answers()
        if key == "max_drop":
            return drop_figure(answers.drop, answers.drop_from)
        return Figure(answers.agreement, f"{answers.agreement:.4f} ({answers.agreement_from})")
    if key in ("max_mib", "size_ratio"):
        return _size_figure(measurement, key)
    return _time_figure(measurement, percent_of(key), relative=key in RATIOS)


def _size_figure(measurement: Measurement, key: str) -> Figure:
    subject = measurement.subject
    size = subject.bundle.manifest.files[subject.variant.file].size
    if key == "max_mib":
        return Figure(size / 2**20, f"{size / 2**20:.2f} MiB")
    assert subject.reference is not None
    bundle, variant = subject.reference
    ratio = size / bundle.manifest.files[variant.file].size
    return Figure(ratio, f"{ratio:.3f} of {variant.name}'s")


def _time_figure(measurement: Measurement, percent: float, *, relative: bool) -> Figure:
    timed, subject = measurement.timed(), measurement.subject
    percentile = _percentile(subject.bundle, timed.summary, percent, "the variant")
    if not relative:
        return time_figure(percentile)
    assert timed.reference is not None
    assert subject.reference is not None
    base = _percentile(subject.bundle, timed.reference, percent, "the full-precision variant")
    return ratio_figure(percentile, base, subject.reference[1].name)


def _percentile(bundle: Bundle, summary: Summary, percent: float, name: str) -> Percentile:
    """Return a percentile of a summary.

    Args:
        bundle: The bundle. The error message contains its name.
        summary: The summary.
        percent: The percentile, 0-100.
        name: Description of the measured variant in the error message: `the variant` or `the full-precision variant`.

    Raises:
        ConfigError: The variant is so slow that there are too few samples for the percentile.
    """
    if (percentile := summary.at(percent)) is None:
        msg = (
            f"{bundle.path.stem}: p{percent:g} needs {min_samples(percent)} samples, but {name} ran only "
            f"{summary.count} times in {MAX_S:g} s: use a lower percentile for this model"
        )
        raise ConfigError(msg)
    return percentile


def applying(budgets: list[Budget], bundle: Bundle, path: Path) -> list[Budget]:
    """Return the budgets that apply to a bundle.

    Args:
        budgets: All budgets of a file.
        bundle: The bundle.
        path: Path of the file, for the error message.

    Raises:
        ConfigError: The file has no budget for the bundle.
    """
    name = bundle.path.stem
    matching = [budget for budget in budgets if budget.bundle == name]
    if not matching:
        names = ", ".join(dict.fromkeys(budget.bundle for budget in budgets))
        msg = f"{path} has no budget for {name}, only for {names}"
        raise ConfigError(msg)
    return matching

"""Estimate the time of a bundle on a device that is not available, from figures published for that device.

A cost per kind of work, fitted to measured runs (`devices/costs.toml`), gives the ratio between models. The speed of
the device is the mean of its published figures. The span of an estimate is the worst error when each published model is
predicted from the others.
"""

from __future__ import annotations

import math
import statistics
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from orilla.devices.errors import ConfigError, DataError
from orilla.devices.spec import CATALOG, Catalog, catalog
from orilla.runtime.bench.work import Work, work_of
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant

COSTS = CATALOG.with_name("costs.toml")

LONE = 2.0
"""Span of an estimate from a single published figure, as a factor in both directions. Its error is unknown."""


MAX_UNKNOWN = 0.1
"""Maximum share of the multiply-accumulates whose cost is unknown."""


class Prediction(msgspec.Struct, frozen=True):
    """Estimate for one variant; never a measurement."""

    device: str
    variant: str
    ms: float
    low_ms: float
    high_ms: float
    basis: str
    predicted: bool = True


@dataclass(frozen=True, slots=True)
class Speed:
    """Ratio of a device's times to the cost model's, in one precision."""

    factor: float
    errors: Mapping[str, float]
    """Published time of each model divided by its prediction from the other figures of the device."""
    basis: str

    @property
    def span(self) -> tuple[float, float]:
        """Return the lower and upper factor of the span: the worst errors in both directions."""
        worst = max((max(error, 1 / error) for error in self.errors.values()), default=LONE)
        return 1 / worst, worst


def predict(bundle: Bundle, device: str, variant: str | None = None) -> list[Prediction]:
    """Estimate the CPU time of a bundle's LiteRT variants with all cores of a device.

    Raises:
        ConfigError: The device or variant is unknown, or has no published figures.
    """
    devices = catalog()
    devices.device(device)
    variants = bundle.manifest.variants if variant is None else (bundle.manifest.variant(variant),)
    predictions, reasons = [], []
    for candidate in variants:
        try:
            predictions.append(_predict(bundle, candidate, device, devices))
        except DataError as error:
            reasons.append(f"{candidate.name}: {error}")
    if not predictions:
        msg = f"no estimate for {bundle.path.name} on {device}: {'; '.join(reasons)}"
        raise ConfigError(msg)
    return predictions


def precision_of(variant: Variant) -> str:
    """Return the precision of a variant's kernels. Raises `DataError` if no figures are published for it."""
    if variant.engine != "litert":
        msg = "published figures exist only for LiteRT with XNNPACK"
        raise DataError(msg)
    numbers = variant.name.partition("_")[2]
    if numbers.startswith("wi8_ai8"):
        return "int8"
    if numbers.startswith(("fp32", "fp16")) or numbers.endswith("_wo"):
        return "float32"
    msg = "no figures are published for its precision"
    raise DataError(msg)


def _predict(bundle: Bundle, variant: Variant, device: str, devices: Catalog) -> Prediction:
    precision = precision_of(variant)
    speed = speed_of(device, precision, devices)
    work, unit = work_of(bundle.read(variant.file), variant.name), costs()[precision]
    if not unit.connected and work.connected > MAX_UNKNOWN * (work.dense + work.depthwise):
        msg = f"most of its work is in dense layers, whose cost in {precision} is unknown"
        raise DataError(msg)
    cost = work.cost(unit)
    ms, (low, high) = cost * speed.factor, speed.span
    return Prediction(
        device, variant.name, round(ms, 4), round(ms * low, 4), round(ms * high, 4), f"{precision}: {speed.basis}"
    )


@cache
def costs() -> dict[str, Work]:
    """Return milliseconds per unit of each kind of work, by precision, on the reference machine."""
    tables = tomllib.loads(COSTS.read_text())["costs"]
    return {name: Work(**table) for name, table in tables.items()}


@cache
def models() -> dict[str, Work]:
    """Return the work of published models."""
    return {name: Work(**table) for name, table in tomllib.loads(COSTS.read_text())["models"].items()}


def speed_of(device: str, precision: str, devices: Catalog) -> Speed:
    """Return the speed of a device.

    It comes from the device's own figures, else from models that it and another device have run, else from another
    device with the same cores and another clock.

    Raises:
        DataError: No published figure leads to this device.
    """
    if (own := _own(device, precision, devices)) is not None:
        return own
    spec, speeds = devices.devices[device], []
    for relative, relative_spec in devices.devices.items():
        base = _own(relative, precision, devices)
        if base is None:
            continue
        if common := _common(device, relative, precision, devices):
            ratio = statistics.geometric_mean(list(common.values()))
            speeds.append((ratio, base, f"{relative}'s figures, through {', '.join(common)}, which both have run"))
        elif spec.cpu == relative_spec.cpu and spec.cores == relative_spec.cores and spec.mhz and relative_spec.mhz:
            speeds.append(
                (relative_spec.mhz / spec.mhz, base, f"{relative}'s figures, the same cores at {relative_spec.mhz} MHz")
            )
    if speeds:  # The most similar device comes first.
        ratio, base, basis = min(speeds, key=lambda speed: abs(math.log(speed[0])))
        return Speed(base.factor * ratio, base.errors, basis)
    msg = f"no published figure leads to the speed of {device} in {precision}"
    raise DataError(msg)


def _own(device: str, precision: str, devices: Catalog) -> Speed | None:
    figures = {
        figure.model: figure.ms / models()[figure.model].cost(costs()[precision])
        for figure in devices.devices[device].latencies
        if figure.precision == precision and figure.model in models() and figure.engine != "edgetpu"
    }
    if not figures:
        return None
    factor = statistics.geometric_mean(list(figures.values()))
    errors = {}
    if len(figures) > 1:
        for name, value in figures.items():
            others = [math.log(other) for model, other in figures.items() if model != name]
            errors[name] = value / math.exp(statistics.fmean(others))
    return Speed(factor, errors, f"{len(figures)} published figures of {device}")


def _common(device: str, other: str, precision: str, devices: Catalog) -> dict[str, float]:
    """Return the ratios of the two devices' times for models that both have run on the same engine."""
    theirs = {
        (figure.model, figure.engine): figure.ms
        for figure in devices.devices[other].latencies
        if figure.precision == precision
    }
    return {
        figure.model: figure.ms / theirs[figure.model, figure.engine]
        for figure in devices.devices[device].latencies
        if figure.precision == precision and (figure.model, figure.engine) in theirs
    }

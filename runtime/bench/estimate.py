"""Estimate the inference time of a bundle on a device that is not available, from figures published for that device.

Each kind of work has a cost that was fitted to measured runs (`devices/costs.toml`). The speed of the device is the
geometric mean over its published figures. The bounds of an estimate come from the largest error that occurs when each
published model is predicted from the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import msgspec

from orilla.devices import toml
from orilla.devices.errors import ConfigError, DataError
from orilla.devices.spec import CATALOG, Catalog, catalog
from orilla.runtime.bench.work import Work, work_of
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.manifest import Variant

COSTS = CATALOG.with_name("costs.toml")

LONE = 2.0
"""Factor between an estimate and each of its bounds if the device has only one published figure. The true error of such
an estimate is unknown."""


PUBLISHED_FORMATS = ("tflite",)
"""File formats whose engines have published figures."""

MAX_UNKNOWN = 0.1
"""Maximum ratio of multiply-accumulates whose cost is unknown to those whose cost is known."""


class Prediction(msgspec.Struct, frozen=True):
    """The estimated, not measured, inference time of one variant."""

    device: str
    variant: str
    ms: float
    low_ms: float
    high_ms: float
    basis: str
    predicted: bool = True


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of a device in one precision: the ratio of its inference times to those that the cost model predicts."""

    factor: float
    errors: Mapping[str, float]
    """For each published model, its published time divided by the time predicted from the device's other models."""
    basis: str

    @property
    def span(self) -> tuple[float, float]:
        """Return the two factors that turn an estimate into its lower and its upper bound.

        The upper factor is the largest error of any published model, as a ratio of at least 1. The lower factor is its
        reciprocal.
        """
        worst = max((max(error, 1 / error) for error in self.errors.values()), default=LONE)
        return 1 / worst, worst


def predict(bundle: Bundle, device: str, variant: str | None = None) -> list[Prediction]:
    """Estimate the inference times of a bundle's LiteRT variants on a device's CPU, with all cores.

    Raises:
        ConfigError: The device or variant is unknown, or no variant can be estimated from the published figures.
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
        msg = f"cannot estimate {bundle.path.name} on {device}: {'; '.join(reasons)}"
        raise ConfigError(msg)
    return predictions


def precision_of(variant: Variant) -> str:
    """Return the precision of a variant's kernels, `int8` or `float32`.

    Raises:
        DataError: No figures are published for the variant's engine or precision.
    """
    if variant.format not in PUBLISHED_FORMATS:
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
        msg = f"too much of its work is in dense layers, whose cost in {precision} is unknown"
        raise DataError(msg)
    cost = work.cost(unit)
    ms, (low, high) = cost * speed.factor, speed.span
    return Prediction(
        device, variant.name, round(ms, 4), round(ms * low, 4), round(ms * high, 4), f"{precision}: {speed.basis}"
    )


@cache
def costs() -> dict[str, Work]:
    """Return, for each precision, the cost of each kind of work in milliseconds per unit on the reference machine."""
    tables = toml.loads(COSTS.read_text())["costs"]
    return {name: Work(**table) for name, table in tables.items()}


@cache
def models() -> dict[str, Work]:
    """Return the work of each model that has published figures, by the model's name."""
    return {name: Work(**table) for name, table in toml.loads(COSTS.read_text())["models"].items()}


def speed_of(device: str, precision: str, devices: Catalog) -> Speed:
    """Return the speed of a device.

    The speed is computed from the device's own published figures. If it has no such figures, those of a similar device
    are used: a device with figures for the same models, or a device with the same cores at another clock frequency.

    Raises:
        DataError: There are no published figures for this device or a similar one.
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
            basis = f"{relative}'s figures, scaled by the published times of {', '.join(common)} on both devices"
            speeds.append((ratio, base, basis))
        elif spec.cpu == relative_spec.cpu and spec.cores == relative_spec.cores and spec.mhz and relative_spec.mhz:
            speeds.append(
                (relative_spec.mhz / spec.mhz, base, f"{relative}'s figures, scaled from {relative_spec.mhz} MHz")
            )
    if speeds:  # If there are several similar devices, the one whose speed is most similar is used.
        ratio, base, basis = min(speeds, key=lambda speed: abs(math.log(speed[0])))
        return Speed(base.factor * ratio, base.errors, basis)
    msg = f"no {precision} figures are published for {device} or a similar device"
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
    """Return the ratio of `device`'s published time to `other`'s for each model that both ran on the same engine."""
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

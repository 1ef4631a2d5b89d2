"""Budgets: limits for the time, size, memory and accuracy of a bundle, read from TOML tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.spec import Catalog, catalog
from orilla.devices.tables import Tables

SHIPPED = Path(__file__).with_name("budgets.toml")
"""Budgets of the bundles that ship with Orilla."""

IMPLAUSIBLE = 0.05
"""Share of its budget below which a time is implausible: perhaps only a part of the model ran. `[low, high]` sets
another lower limit."""


@dataclass(frozen=True, slots=True)
class Range:
    """The allowed range of a figure, both ends included."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one `[[budget]]` table. A limit of None is not checked."""

    bundle: str
    """Name of a shipped bundle, or the file name without its suffix."""
    variant: str | None = None
    """Name of the variant. None selects the bundle's default."""
    device: str | None = None
    """Name of a device in the catalogue; the budget applies only there. Limits in milliseconds need it."""
    engine: str | None = None
    threads: int | None = None
    reference: str | None = None
    """Bundle with the full-precision variant, if the bundle itself has none: a path relative to the budget file."""
    p50_ms: Range | None = None
    p90_ms: Range | None = None
    p99_ms: Range | None = None
    """Milliseconds of one inference."""
    p50_ratio: Range | None = None
    p90_ratio: Range | None = None
    p99_ratio: Range | None = None
    """Ratio to the full-precision variant, interleaved in the same run."""
    start_ms: Range | None = None
    """Time from before the import of the engine to the first answer, in a new process, milliseconds."""
    memory_mib: Range | None = None
    """Growth of that process at its peak, MiB."""
    max_mib: Range | None = None
    """Size of the variant's file, MiB."""
    size_ratio: Range | None = None
    """Ratio of the file sizes of the variant and the full-precision variant."""
    max_drop: Range | None = None
    """Loss of the primary metric against the original model, points."""
    min_agreement: Range | None = None
    """Share of decisions that equal those of the original model, 0–1."""

    def limits(self) -> dict[str, Range]:
        """Return the limits that are set, by name."""
        found = {name: getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in found.items() if limit is not None}


TIMES = ("p50_ms", "p90_ms", "p99_ms", "start_ms")
RATIOS = ("p50_ratio", "p90_ratio", "p99_ratio")
LIMITS = (*TIMES, *RATIOS, "memory_mib", "max_mib", "size_ratio", "max_drop", "min_agreement")
"""Names of all limits."""

_TEXTS = ("bundle", "variant", "device", "engine", "reference")


def read_budgets(path: Path, known: Catalog | None = None) -> list[Budget]:
    """Read a file of `[[budget]]` tables.

    Raises:
        ConfigError: The file is invalid. The message names the line and the known keys.
    """
    file = Tables.read(path)
    file.check("", file.content, {"budget"})
    tables = file.several("budget")
    if not tables:
        msg = f"{path} has no [[budget]] table"
        raise ConfigError(msg)
    found = []
    for place, table in enumerate(tables):
        file.check("budget", table, [one.name for one in fields(Budget)], place)
        try:
            budget = budget_of(table, known)
        except _BadKeyError as error:
            msg = "budget"
            raise file.error(msg, error.key, str(error), place) from error
        if budget.reference is not None:
            table["reference"] = str(path.absolute().parent / budget.reference)
            budget = budget_of(table, known)
        found.append(budget)
    return found


def budget_of(table: dict[str, Any], known: Catalog | None = None) -> Budget:
    """Create a budget from names and numbers.

    Raises:
        ConfigError: A key or device is unknown, a value is invalid, or a limit in milliseconds has no device.
    """
    names = [one.name for one in fields(Budget)]
    for key in table:
        if key not in names:
            raise _BadKeyError(key, str(unknown_name(key, names, kind="key")))
    given: dict[str, Any] = {}
    for key, value in table.items():
        if value is None:
            continue
        if key in _TEXTS:
            if not isinstance(value, str) or not value:
                raise _BadKeyError(key, f"{key} = {value!r}: must be a text")
            given[key] = value
        elif key == "threads":
            if type(value) is not int or value < 1:
                raise _BadKeyError(key, f"threads = {value!r}: must be a whole number above 0")
            given[key] = value
        else:
            given[key] = _range(key, value)
    if "bundle" not in given:
        msg = ""
        raise _BadKeyError(msg, "a budget has no bundle")
    device = given.get("device")
    if device is not None:
        devices = (known or catalog()).devices
        if device not in devices:
            msg = "device"
            raise _BadKeyError(msg, str(unknown_name(device, devices, kind="device")))
        if not devices[device].match and devices[device].arch is None:
            msg = "device"
            raise _BadKeyError(msg, f"device = {device!r}: this name matches no machine; name its board instead")
    budget = Budget(**given)
    if not budget.limits():
        msg = "bundle"
        raise _BadKeyError(msg, f"the budget of {budget.bundle} sets no limit: choose from {', '.join(LIMITS)}")
    for key in TIMES:
        if device is None and key in given:
            raise _BadKeyError(
                key, f"{key} needs device: milliseconds depend on the machine; name the device, or use a ratio"
            )
    return budget


class _BadKeyError(ConfigError):
    """An invalid key of a budget."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


def _range(key: str, value: Any) -> Range:
    """Convert a number into a range: a lower limit for keys that start with `min_`, else an upper limit."""
    pair = value if isinstance(value, list | tuple) else None
    numbers = pair if pair is not None else [value]
    if not all(type(one) in (int, float) and math.isfinite(one) for one in numbers) or (
        pair is not None and len(pair) != 2
    ):
        raise _BadKeyError(key, f"{key} = {value!r}: must be a number, or [least, most]")
    if key != "max_drop" and any(one < 0 for one in numbers):
        raise _BadKeyError(key, f"{key} = {value!r}: must be 0 or more")
    if pair is not None:
        if pair[0] > pair[1]:
            raise _BadKeyError(key, f"{key} = {value!r}: the lower limit comes first")
        return Range(float(pair[0]), float(pair[1]))
    if key.startswith("min_"):
        if value > 1:
            raise _BadKeyError(key, f"{key} = {value!r}: must be a share, 0 to 1")
        return Range(float(value), 1.0)
    if key == "max_drop":
        return Range(float("-inf"), float(value))
    return Range(IMPLAUSIBLE * value if key[0] == "p" else 0.0, float(value))

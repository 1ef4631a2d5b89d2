"""Read budgets from TOML tables: limits for the time, size, memory and accuracy of a bundle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.spec import Catalog, DeviceSpec, catalog
from orilla.devices.tables import TOP, Tables

TABLE = "budget"
"""Name of the tables in a budget file."""

SHIPPED = Path(__file__).with_name("budgets.toml")
"""Budgets of the bundles that ship with Orilla."""

IMPLAUSIBLE = 0.05
"""A time below this share of its limit is implausible, because perhaps only a part of the model ran. If the limit is
given as `[low, high]`, a time below `low` is implausible instead."""


@dataclass(frozen=True, slots=True)
class Range:
    """The allowed range of a figure, including both ends."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Budget:
    """The content of one `[[budget]]` table. A limit of None is not checked."""

    bundle: str
    """Name of a shipped bundle, or the file name of a bundle without its suffix."""
    variant: str | None = None
    """Name of the variant. If None, the budget is for the bundle's default variant."""
    device: str | None = None
    """Name of a device in the catalogue. The budget applies only to this device. Limits in milliseconds need a
    device."""
    engine: str | None = None
    threads: int | None = None
    reference: str | None = None
    """Path of a bundle with the full-precision variant, relative to the budget file. Required if the bundle itself does
    not contain this variant."""
    p50_ms: Range | None = None
    p90_ms: Range | None = None
    p99_ms: Range | None = None
    """Percentiles of the inference time in milliseconds."""
    p50_ratio: Range | None = None
    p90_ratio: Range | None = None
    p99_ratio: Range | None = None
    """Ratio of each percentile of the inference time to the same percentile of the full-precision variant. Both
    variants are measured in turn within one run."""
    start_ms: Range | None = None
    """Time in milliseconds that a new process takes from the import of the engine to the first answer."""
    memory_mib: Range | None = None
    """Increase of a new process's memory, in MiB, from the import of the engine to the peak while the variant runs."""
    max_mib: Range | None = None
    """Size of the variant's file in MiB."""
    size_ratio: Range | None = None
    """Ratio of the variant's file size to that of the full-precision variant."""
    max_drop: Range | None = None
    """Drop of the primary metric compared with the original model, in percentage points."""
    min_agreement: Range | None = None
    """Share of decisions (0–1) that are the same as those of the original model."""

    def limits(self) -> dict[str, Range]:
        """Return the limits that are not None. The keys are the names of the limits."""
        limits = {name: getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in limits.items() if limit is not None}


TIMES = ("p50_ms", "p90_ms", "p99_ms", "start_ms")
RATIOS = ("p50_ratio", "p90_ratio", "p99_ratio")
LIMITS = (*TIMES, *RATIOS, "memory_mib", "max_mib", "size_ratio", "max_drop", "min_agreement")
"""Names of all limits."""

KEYS = tuple(field.name for field in fields(Budget))
"""Names of all keys that a `[[budget]]` table may contain."""

_STRINGS = ("bundle", "variant", "device", "engine", "reference")


def read_budgets(path: Path, known: Catalog | None = None) -> list[Budget]:
    """Read a file of `[[budget]]` tables.

    Args:
        path: The file.
        known: The catalogue of devices. If None, `catalog()` is used.

    Raises:
        ConfigError: The file is invalid. The message names the line and the known keys.
    """
    file = Tables.read(path)
    file.check(TOP, file.content, {TABLE})
    tables = file.listed_tables(TABLE)
    if not tables:
        msg = f"{path} has no [[budget]] table"
        raise ConfigError(msg)
    budgets, problems = [], file.problems()
    for index, table in enumerate(tables):
        with problems.collected():
            budgets.append(_read_budget(file, table, index, known))
    problems.raise_all()
    return budgets


def _read_budget(file: Tables, table: dict[str, Any], index: int, known: Catalog | None) -> Budget:
    """Return the budget in a table. `index` is the position of the table in the file."""
    problems = file.problems()
    with problems.collected():
        file.check(TABLE, table, KEYS, index)
    for key, value in table.items():
        with problems.collected():
            try:
                if key in KEYS:
                    _value(key, value)
            except _BadKeyError as error:
                raise file.error(TABLE, key, str(error), index) from error
    problems.raise_all()
    try:
        budget = budget_of(table, known)
    except _BadKeyError as error:
        raise file.error(TABLE, error.key, str(error), index) from error
    if budget.reference is not None:
        budget = replace(budget, reference=str(file.path.absolute().parent / budget.reference))
    return budget


def budget_of(table: dict[str, Any], known: Catalog | None = None) -> Budget:
    """Create a budget from the keys and values of a table.

    Args:
        table: Values by key. The keys are the names of fields of `Budget`. A value of None is ignored.
        known: The catalogue of devices. If None, `catalog()` is used.

    Raises:
        ConfigError: A key or device is unknown, a value is invalid, or a limit in milliseconds has no device.
    """
    for key in table:
        if key not in KEYS:
            raise _BadKeyError(str(unknown_name(key, KEYS, kind="key")), key)
    values = {key: _value(key, value) for key, value in table.items() if value is not None}
    if "bundle" not in values:
        problem = "a budget has no bundle"
        raise _BadKeyError(problem)
    budget = Budget(**values)
    if budget.device is not None:
        _check_device(budget.device, (known or catalog()).devices)
    if not budget.limits():
        problem = f"the budget of {budget.bundle} sets no limit: set at least one of {', '.join(LIMITS)}"
        raise _BadKeyError(problem, "bundle")
    for key in TIMES:
        if budget.device is None and key in values:
            problem = f"{key} needs `device`, because times depend on the machine: name the device, or limit a ratio"
            raise _BadKeyError(problem, key)
    return budget


class _BadKeyError(ConfigError):
    """Raised for an invalid key of a budget, or for the whole table if `key` is empty."""

    def __init__(self, problem: str, key: str = "") -> None:
        super().__init__(problem)
        self.key = key


def _check_device(device: str, devices: dict[str, DeviceSpec]) -> None:
    """Raise an error if the device is unknown, or if it is not a machine but, for example, a USB accelerator."""
    if device not in devices:
        raise _BadKeyError(str(unknown_name(device, devices, kind="device")), "device")
    if not devices[device].match and devices[device].arch is None:
        problem = f"device = {device!r}: this device matches no machine; give the board that it is attached to"
        raise _BadKeyError(problem, "device")


def _value(key: str, value: Any) -> Any:
    """Convert a value to the type of its key, and return it. Raise an error if this is impossible."""
    if key in _STRINGS:
        if not isinstance(value, str) or not value:
            problem = f"{key} = {value!r}: must be a string"
            raise _BadKeyError(problem, key)
        return value
    if key == "threads":
        if type(value) is not int or value < 1:
            problem = f"threads = {value!r}: must be a whole number above 0"
            raise _BadKeyError(problem, key)
        return value
    return _range(key, value)


def _range(key: str, value: Any) -> Range:
    """Return a limit as a range.

    A pair gives both ends. A number is the lower end for a key that starts with `min_`, else the upper end.
    """
    is_pair = isinstance(value, list | tuple)
    numbers = value if is_pair else [value]
    are_numbers = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    if not are_numbers or (is_pair and len(numbers) != 2):
        problem = f"{key} = {value!r}: must be a number, or [low, high]"
        raise _BadKeyError(problem, key)
    if key != "max_drop" and min(numbers) < 0:
        problem = f"{key} = {value!r}: must be 0 or more"
        raise _BadKeyError(problem, key)
    if is_pair:
        return _pair_range(key, float(numbers[0]), float(numbers[1]))
    if key.startswith("min_"):
        if value > 1:
            problem = f"{key} = {value!r}: must be a share from 0 to 1"
            raise _BadKeyError(problem, key)
        return Range(float(value), 1.0)
    if key == "max_drop":
        return Range(float("-inf"), float(value))
    return Range(IMPLAUSIBLE * value if key.startswith(("p50", "p90", "p99")) else 0.0, float(value))


def _pair_range(key: str, low: float, high: float) -> Range:
    if low > high:
        problem = f"{key} = [{low:g}, {high:g}]: the lower limit must come first"
        raise _BadKeyError(problem, key)
    return Range(low, high)

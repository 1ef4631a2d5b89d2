"""Budgets: what a bundle may take and lose, on any machine or on a named device, from TOML tables."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from orilla.devices.errors import ConfigError, unknown_name
from orilla.devices.spec import Catalog, catalog
from orilla.devices.tables import Tables

SHIPPED = Path(__file__).with_name("budgets.toml")
"""Budgets of the bundles that ship."""

IMPLAUSIBLE = 0.05
"""A time below this share of its budget is a question too: did the whole model run? `[least, most]` says otherwise."""


@dataclass(frozen=True, slots=True)
class Range:
    """What a figure may be, both ends included."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Budget:
    """One table. Everything that is None is not asked."""

    bundle: str
    """Its name: of one that ships, or of its file without the suffix."""
    variant: str | None = None
    """The bundle's default where None."""
    device: str | None = None
    """Of the catalogue: the budget holds there only. Absolute times need one."""
    engine: str | None = None
    threads: int | None = None
    reference: str | None = None
    """A bundle with the full-precision variant, where the bundle itself has none; a path from the file's folder."""
    p50_ms: Range | None = None
    p90_ms: Range | None = None
    p99_ms: Range | None = None
    """Milliseconds of one inference."""
    p50_ratio: Range | None = None
    p90_ratio: Range | None = None
    p99_ratio: Range | None = None
    """By the full-precision variant's, both measured in turns in the same run."""
    start_ms: Range | None = None
    """From before the engine is imported to the first answer, in a new process."""
    memory_mib: Range | None = None
    """What the process grows by, at its peak."""
    max_mib: Range | None = None
    """Of the variant's file."""
    size_ratio: Range | None = None
    """By the full-precision variant's file."""
    max_drop: Range | None = None
    """Points of the first metric below the original."""
    min_agreement: Range | None = None
    """Share of the original's decisions that are equal, 0-1."""

    def limits(self) -> dict[str, Range]:
        """What is asked, by name."""
        found = {name: getattr(self, name) for name in LIMITS}
        return {name: limit for name, limit in found.items() if limit is not None}


TIMES = ("p50_ms", "p90_ms", "p99_ms", "start_ms")
RATIOS = ("p50_ratio", "p90_ratio", "p99_ratio")
LIMITS = (*TIMES, *RATIOS, "memory_mib", "max_mib", "size_ratio", "max_drop", "min_agreement")
"""All that a budget can ask."""

_TEXTS = ("bundle", "variant", "device", "engine", "reference")


def read_budgets(path: Path, known: Catalog | None = None) -> list[Budget]:
    """Reads a file of `[[budget]]` tables.

    Raises:
        ConfigError: what is wrong, with its line and the known keys.
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
    """A budget from names and numbers.

    Raises:
        ConfigError: a key or device that is unknown, a value that is none, absolute times without a device.
    """
    names = [one.name for one in fields(Budget)]
    for key in table:
        if key not in names:
            raise _BadKeyError(key, str(unknown_name("key", key, names)))
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
            raise _BadKeyError(msg, str(unknown_name("device", device, devices)))
        if not devices[device].match and devices[device].arch is None:
            msg = "device"
            raise _BadKeyError(msg, f"device = {device!r}: no machine can be told to be one; name its host")
    budget = Budget(**given)
    if not budget.limits():
        msg = "bundle"
        raise _BadKeyError(msg, f"the budget of {budget.bundle} asks nothing: {', '.join(LIMITS)}")
    for key in TIMES:
        if device is None and key in given:
            raise _BadKeyError(key, f"{key} without device: milliseconds are those of a machine; say which, or a ratio")
    return budget


class _BadKeyError(ConfigError):
    """What is wrong with one key."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(what)
        self.key = key


def _range(key: str, value: Any) -> Range:
    """A number is what a figure may be at most, or at least where the key begins with `min_`."""
    pair = value if isinstance(value, list | tuple) else None
    numbers = pair if pair is not None else [value]
    if not all(type(one) in (int, float) and math.isfinite(one) for one in numbers) or (
        pair is not None and len(pair) != 2
    ):
        raise _BadKeyError(key, f"{key} = {value!r}: must be a number, or [least, most]")
    if key != "max_drop" and any(one < 0 for one in numbers):
        raise _BadKeyError(key, f"{key} = {value!r}: must not be below 0")
    if pair is not None:
        if pair[0] > pair[1]:
            raise _BadKeyError(key, f"{key} = {value!r}: the least comes first")
        return Range(float(pair[0]), float(pair[1]))
    if key.startswith("min_"):
        if value > 1:
            raise _BadKeyError(key, f"{key} = {value!r}: is a share, 0 to 1")
        return Range(float(value), 1.0)
    if key == "max_drop":
        return Range(float("-inf"), float(value))
    return Range(IMPLAUSIBLE * value if key[0] == "p" else 0.0, float(value))

"""The catalogue of known devices and engines, from the file `catalog.toml` and the user's own file."""

from __future__ import annotations

import os
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from orilla.devices.cores import threads_for
from orilla.devices.errors import unknown_name
from orilla.devices.tables import TOP, Tables

T = TypeVar("T")

CATALOG = Path(__file__).with_name("catalog.toml")
"""The catalogue file that ships with Orilla."""

OWN = "ORILLA_DEVICES"
"""Environment variable with the path of the user's own catalogue file."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A published latency of a model on a device."""

    model: str
    precision: str
    engine: str
    ms: float
    """Time of one inference in milliseconds."""
    source: str
    """Publication that states the latency."""


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Properties of a device."""

    title: str
    source: str
    """Document that states the properties."""
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    match: tuple[str, ...] = ()
    """Prefixes of board names that identify this device. Empty for a generic device."""
    arch: str | None = None
    """Architecture, as Linux names it."""
    cpu: str | None = None
    cores: int = 4
    mhz: int | None = None
    """Maximum clock rate in MHz."""
    memory_mib: tuple[int, ...] = ()
    """Memory sizes in MiB with which the device is sold."""
    features: tuple[str, ...] = ()
    """Instruction sets, as Linux names them."""
    accelerators: tuple[str, ...] = ()
    threads: int = 0
    """Number of inference threads of a camera loop. 0 selects all cores except one, at most four."""
    latencies: tuple[Latency, ...] = ()

    def __post_init__(self) -> None:
        if not self.threads:
            object.__setattr__(self, "threads", threads_for(self.cores))


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """Properties of an engine."""

    title: str
    precisions: tuple[str, ...]
    runs_on: str
    source: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """The known devices and engines. The keys are the names."""

    devices: dict[str, DeviceSpec] = field(default_factory=dict)
    engines: dict[str, EngineSpec] = field(default_factory=dict)

    def device(self, name: str) -> DeviceSpec:
        """Return a device by name. Raise `ConfigError` if the name is unknown."""
        if name not in self.devices:
            raise unknown_name(name, self.devices, kind="device")
        return self.devices[name]

    def of_board(self, board: str | None) -> str | None:
        """Return the name of the device whose `match` has the longest prefix of the board's name.

        Return None if no prefix matches.
        """
        matches = [
            (len(prefix), name)
            for name, spec in self.devices.items()
            for prefix in spec.match
            if board is not None and board.startswith(prefix)
        ]
        return max(matches)[1] if matches else None


def own_file() -> Path:
    """Return the path of the user's own catalogue file.

    It is `$ORILLA_DEVICES` if this variable is set, else `orilla/devices.toml` in the configuration folder.
    """
    if OWN in os.environ:
        return Path(os.environ[OWN])
    if folder := os.environ.get("XDG_CONFIG_HOME"):
        return Path(folder) / "orilla" / "devices.toml"
    # `Path.home` raises an error for a user without a home folder.
    return Path(os.path.expanduser("~")) / ".config" / "orilla" / "devices.toml"  # noqa: PTH111


def catalog(own: Path | None = None) -> Catalog:
    """Return the catalogue that ships with Orilla, extended by the user's devices.

    Args:
        own: The user's file. If None, the default file is used if it exists.

    Raises:
        ConfigError: The file is invalid. The message names the line and the known keys.
    """
    shipped = _read(CATALOG, Catalog())
    if own is None:
        own = own_file()
        if not own.exists() and OWN not in os.environ:
            return shipped
    return _read(own, shipped)


def _read(path: Path, base: Catalog) -> Catalog:
    """Return a catalogue extended by the tables of a file."""
    file = Tables.read(path)
    problems = file.problems()
    with problems.collected():
        file.check(TOP, file.content, {"devices", "engines"})
    devices, engines = dict(base.devices), dict(base.engines)
    for name, table in file.named_tables("engines").items():
        with problems.collected():
            engines[name] = _build(file, EngineSpec, f"engines.{name}", table)
    for name, table in file.named_tables("devices").items():
        with problems.collected():
            devices[name] = _build_device(file, name, table, devices)
            for engine in devices[name].engines:
                if engine not in engines:
                    header = f"devices.{name}"
                    raise file.error(header, "engines", str(unknown_name(engine, engines, kind="engine")))
    problems.raise_all()
    return Catalog(devices, engines)


def _build_device(file: Tables, name: str, table: dict[str, Any], devices: dict[str, DeviceSpec]) -> DeviceSpec:
    """Create a device from a table. The device named by the key `like` supplies missing values."""
    header = f"devices.{name}"
    if "like" not in table:
        return _build(file, DeviceSpec, header, table)
    like = table.pop("like")
    if not isinstance(like, str):
        problem = f"like = {like!r}: must be a string"
        raise file.error(header, "like", problem)
    if like not in devices:
        raise file.error(header, "like", str(unknown_name(like, devices, kind="device")))
    values = _values(file, DeviceSpec, header, table)
    if like != name:
        # Board names, latencies and the thread count belong to one device, so `like` does not copy them.
        values = {"match": (), "latencies": (), "threads": 0, **values}
    return replace(devices[like], **values)


def _build(file: Tables, kind: type[T], header: str, table: dict[str, Any]) -> T:
    """Create an instance of the dataclass `kind` from a table."""
    values = _values(file, kind, header, table)
    for field_ in fields(kind):  # type: ignore[arg-type]
        if field_.name not in values and field_.default is MISSING:
            problem = f"[{header}] has no {field_.name}"
            raise file.error(header, "", problem)
    return kind(**values)


def _values(file: Tables, kind: type, header: str, table: dict[str, Any]) -> dict[str, Any]:
    """Check the keys of a table and the types of its values. Return the values by key."""
    hints = get_type_hints(kind)
    problems = file.problems()
    with problems.collected():
        file.check(header, table, {*hints, *(("like",) if kind is DeviceSpec else ())})
    values = {}
    for key, value in table.items():
        with problems.collected():
            if key in hints:
                values[key] = _value(file, header, key, value, hints[key])
    problems.raise_all()
    return values


def _value(file: Tables, header: str, key: str, value: Any, hint: Any) -> Any:
    """Convert a value to the type of its key, and return it. Raise `ConfigError` if this is impossible."""
    if get_origin(hint) is UnionType:
        hint = next(option for option in get_args(hint) if option is not type(None))
    if get_origin(hint) is tuple and isinstance(value, list):
        item_hint = get_args(hint)[0]
        if item_hint is Latency and all(isinstance(item, dict) for item in value):
            return tuple(_build(file, Latency, header, item) for item in value)
        return tuple(_value(file, header, key, item, item_hint) for item in value)
    if hint is float and type(value) in (int, float) and value > 0:
        return float(value)
    if hint is int and type(value) is int and value > 0:
        return value
    if hint is str and isinstance(value, str) and value:
        return value
    expected = {str: "a string", int: "a whole number above 0", float: "a number above 0"}.get(hint, "a list")
    problem = f"{key} = {value!r}: must be {expected}"
    raise file.error(header, key, problem)

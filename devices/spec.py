"""The catalogue of known devices and engines, from strictly checked TOML tables."""

from __future__ import annotations

import os
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from orilla.devices.cores import threads_for
from orilla.devices.errors import unknown_name
from orilla.devices.tables import Tables

CATALOG = Path(__file__).with_name("catalog.toml")
OWN = "ORILLA_DEVICES"
"""Environment variable with the path of the user's own file."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A published latency."""

    model: str
    precision: str
    engine: str
    ms: float
    source: str


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """Properties of a device."""

    title: str
    source: str
    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    match: tuple[str, ...] = ()
    """Prefixes of the model name in the device tree."""
    arch: str | None = None
    cpu: str | None = None
    cores: int = 4
    mhz: int | None = None
    memory_mib: tuple[int, ...] = ()
    """Memory sizes of its models, MiB."""
    features: tuple[str, ...] = ()
    """Instruction sets, as the kernel names them."""
    accelerators: tuple[str, ...] = ()
    threads: int = 0
    """Threads for inference in a loop. 0 leaves one core to the loop."""
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
    """Devices and engines by name."""

    devices: dict[str, DeviceSpec] = field(default_factory=dict)
    engines: dict[str, EngineSpec] = field(default_factory=dict)

    def device(self, name: str) -> DeviceSpec:
        """Return a device by name. Raises `ConfigError` for an unknown name."""
        if name not in self.devices:
            raise unknown_name(name, self.devices, kind="device")
        return self.devices[name]

    def of_board(self, board: str | None) -> str | None:
        """Return the device whose `match` is the longest prefix of the board's name."""
        found = [
            (len(start), name)
            for name, spec in self.devices.items()
            for start in spec.match
            if board is not None and board.startswith(start)
        ]
        return max(found)[1] if found else None


def own_file() -> Path:
    """Return the path of the user's own devices.

    It is `$ORILLA_DEVICES`, else `orilla/devices.toml` in the configuration folder.
    """
    if OWN in os.environ:
        return Path(os.environ[OWN])
    if chosen := os.environ.get("XDG_CONFIG_HOME"):
        return Path(chosen) / "orilla" / "devices.toml"
    return Path(os.path.expanduser("~")) / ".config" / "orilla" / "devices.toml"  # noqa: PTH111 - a user may have no home


def catalog(own: Path | None = None) -> Catalog:
    """Return the shipped catalogue, extended by the user's own devices.

    Args:
        own: The user's file. None uses the default file if it exists.

    Raises:
        ConfigError: The file is invalid. The message names the line and the known keys.
    """
    found = _read(CATALOG, Catalog())
    if own is None:
        own = own_file()
        if not own.exists() and OWN not in os.environ:
            return found
    return _read(own, found)


def _read(path: Path, base: Catalog) -> Catalog:
    file = Tables.read(path)
    file.check("", file.content, {"devices", "engines"})
    devices, engines = dict(base.devices), dict(base.engines)
    for name, table in file.tables("engines").items():
        engines[name] = _build(file, EngineSpec, f"engines.{name}", table)
    for name, table in file.tables("devices").items():
        like = table.pop("like", None)
        if like is not None and not isinstance(like, str):
            msg = f"devices.{name}"
            raise file.error(msg, "like", f"like = {like!r}: must be a text")
        if like is not None and like not in devices:
            msg = f"devices.{name}"
            raise file.error(msg, "like", str(unknown_name(str(like), devices, kind="device")))
        devices[name] = _build(file, DeviceSpec, f"devices.{name}", table, devices[like] if like else None, like)
        for engine in devices[name].engines:
            if engine not in engines:
                msg = f"devices.{name}"
                raise file.error(msg, "engines", str(unknown_name(engine, engines, kind="engine")))
    return Catalog(devices, engines)


def _build(
    file: Tables, kind: type[Any], table: str, found: dict[str, Any], base: Any = None, found_name: str | None = None
) -> Any:
    """Create one of the dataclasses above from a table. Missing keys come from `base`."""
    hints = get_type_hints(kind)
    file.check(table, found, {*hints, *(("like",) if kind is DeviceSpec else ())})
    given = {key: _value(file, table, key, value, hints[key]) for key, value in found.items()}
    if base is not None:
        # Recognition, measurements and the thread count belong to one board, so `like` does not inherit them.
        own = {"match": (), "latencies": (), "threads": 0} if found_name != table.rpartition(".")[2] else {}
        return replace(base, **{**own, **given})
    for one in fields(kind):
        if one.name not in given and one.default is MISSING:
            raise file.error(table, "", f"[{table}] has no {one.name}")
    return kind(**given)


def _value(file: Tables, table: str, key: str, value: Any, hint: Any) -> Any:
    if get_origin(hint) is UnionType:
        hint = next(one for one in get_args(hint) if one is not type(None))
    if get_origin(hint) is tuple and isinstance(value, list):
        inner = get_args(hint)[0]
        if inner is Latency and all(isinstance(one, dict) for one in value):
            return tuple(_build(file, Latency, table, one) for one in value)
        return tuple(_value(file, table, key, one, inner) for one in value)
    if hint is float and type(value) in (int, float) and value > 0:
        return float(value)
    if hint is int and type(value) is int and value > 0:
        return value
    if hint is str and isinstance(value, str) and value:
        return value
    wanted = {str: "a text", int: "a whole number above 0", float: "a number above 0"}.get(hint, "a list")
    raise file.error(table, key, f"{key} = {value!r}: must be {wanted}")

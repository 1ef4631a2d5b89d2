"""The command `orilla devices`: describe this machine and the known devices."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orilla.devices.detect import Machine, detect
from orilla.devices.spec import Catalog, DeviceSpec, catalog
from orilla.runtime import doctor
from orilla.runtime.engines import registry

if TYPE_CHECKING:
    from rich.console import Console


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "device", nargs="?", help="a device of the catalogue, with its published latencies (default: all)"
    )
    parser.add_argument(
        "--catalog", type=Path, metavar="FILE", help="file with your own devices, TOML (docs/devices.md)"
    )


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Detect the machine and read the catalogue."""
    known = catalog(arguments.catalog)
    if arguments.device is not None:
        return 0, {"name": arguments.device, "device": known.device(arguments.device)}
    machine = detect()
    here = known.of_board(machine.board) or next((name for name in _generic(known, machine)), None)
    return 0, {"machine": machine, "device": here, "engines": _engines(known), "catalog": known}


def _generic(known: Catalog, machine: Machine) -> list[str]:
    """Return the generic devices of this architecture."""
    return [name for name, spec in known.devices.items() if spec.arch == machine.arch and not spec.match]


def _engines(known: Catalog) -> list[dict[str, object]]:
    """Return each engine with its availability and installation."""
    offered = doctor.providers()
    rows: list[dict[str, object]] = []
    for name, engine in registry.ENGINES.items():
        here = registry.here(name, offered)
        spec = known.engines[name]
        install = None if here else engine.install
        rows.append({"name": name, "title": spec.title, "runs_on": spec.runs_on, "here": here, "install": install})
    return rows


def show(document: dict[str, Any]) -> None:
    """Print the machine, the engines and the catalogue, or one device."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    if "name" in document:
        _device(console, document["name"], document["device"])
        return
    _machine(console, document["machine"], document["device"])
    _table(
        console,
        "engines",
        ("engine", "what", "available, or how to install"),
        [(row["name"], row["title"], "yes" if row["here"] else row["install"]) for row in document["engines"]],
    )
    devices: dict[str, DeviceSpec] = document["catalog"].devices
    _table(
        console,
        "catalogue (orilla devices NAME shows one, with published latencies)",
        ("device", "what", "CPU", "threads of a loop"),
        [(name, spec.title, _cpu(spec), str(spec.threads)) for name, spec in devices.items()],
    )
    console.print("orilla doctor runs the installed engines and reports problems")


def _machine(console: Console, machine: Machine, device: str | None) -> None:
    rows = {
        "machine": str(machine),
        "known as": device,
        "CPU features": " ".join(machine.features),
        "cores": f"{machine.cores} of {machine.cores_online} usable",
        "clock": _clock(machine),
        "temperature": None if machine.temperature_c is None else f"{machine.temperature_c:.0f} degrees Celsius",
        "slowed down": ", ".join(machine.throttled),
        "memory": _memory(machine),
        "accelerators": ", ".join(one.name for one in machine.accelerators) or "none",
        "packages": ", ".join(f"{name} {release}" for name, release in machine.engines.items()),
        "Python": f"{machine.python}, {machine.bits}-bit",
    }
    for name, text in rows.items():
        if text:
            console.print(f"{name:<13} {text}")


def _clock(machine: Machine) -> str:
    mhz = f"up to {machine.max_mhz} MHz" if machine.max_mhz else ""
    return ", ".join(part for part in (mhz, f"governor {machine.governor}" if machine.governor else "") if part)


def _memory(machine: Machine) -> str:
    limit = f", limited to {machine.memory_limit_mib} MiB by the control group" if machine.memory_limit_mib else ""
    free = "" if machine.memory_free_mib is None else f", {machine.memory_free_mib} MiB free"
    return f"{machine.memory_mib} MiB{free}{limit}"


def _device(console: Console, name: str, spec: DeviceSpec) -> None:
    console.print(f"{name}: {spec.title}")
    rows = {
        "CPU": _cpu(spec),
        "memory": " or ".join(f"{mib} MiB" for mib in spec.memory_mib),
        "features": " ".join(spec.features),
        "accelerators": ", ".join(spec.accelerators),
        "engines": ", ".join(spec.engines),
        "precisions": ", ".join(spec.precisions),
        "threads": f"{spec.threads}: one core is left to the loop" if spec.cores > 1 else "1",
        "source": spec.source,
    }
    for label, text in rows.items():
        if text:
            console.print(f"{label:<13} {text}")
    if spec.latencies:
        rows_of = [(one.model, one.precision, one.engine, f"{one.ms:g}", one.source) for one in spec.latencies]
        _table(console, "published latencies", ("model", "precision", "engine", "ms", "source"), rows_of)


def _cpu(spec: DeviceSpec) -> str:
    clock = f" at {spec.mhz} MHz" if spec.mhz else ""
    return f"{spec.cores} x {spec.cpu}{clock}" if spec.cpu and spec.mhz else spec.cpu or "any"


def _table(console: Console, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column in ("engine", "device", "model"))
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)

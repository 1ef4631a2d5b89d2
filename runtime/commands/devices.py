"""The command `orilla devices`: describe this machine and the known devices."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orilla.devices.detect import Machine, detect
from orilla.devices.spec import Catalog, DeviceSpec, catalog
from orilla.runtime import doctor
from orilla.runtime.commands.result import CommandResult
from orilla.runtime.engines import registry

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "device",
        nargs="?",
        help="device of the catalogue to show, with its published latencies (default: this machine and all devices)",
    )
    parser.add_argument(
        "--catalog", type=Path, metavar="FILE", help="TOML file with your own devices (docs/devices.md)"
    )


@dataclass(frozen=True, slots=True)
class DeviceResult(CommandResult):
    """A device of the catalogue."""

    name: str
    device: DeviceSpec

    def render(self, console: ResultConsole) -> None:
        """Print the device with its published latencies."""
        _print_device(console, self.name, self.device)


@dataclass(frozen=True, slots=True)
class EngineRow:
    """A row in the table of engines."""

    name: str
    title: str
    runs_on: str
    """Processor that runs the model, such as `CPU`. Empty if it is unknown."""
    here: bool
    """True if the engine is available on this machine."""
    install: str | None
    """Command that installs the engine. None if it is available."""


@dataclass(frozen=True, slots=True)
class MachineResult(CommandResult):
    """This machine, the engines and the catalogue."""

    machine: Machine
    device: str | None
    """Name of this machine in the catalogue, or None if the catalogue does not contain it."""
    engines: list[EngineRow]
    catalog: Catalog

    def render(self, console: ResultConsole) -> None:
        """Print the machine, the engines and the catalogue."""
        _print_machine(console, self.machine, self.device)
        _print_table(
            console,
            "engines",
            ("engine", "what", "available, or how to install"),
            [(row.name, row.title, "yes" if row.here else row.install or "") for row in self.engines],
        )
        _print_table(
            console,
            "catalogue (orilla devices NAME shows the published latencies of a device)",
            ("device", "what", "CPU", "threads of a loop"),
            [(name, spec.title, _cpu(spec), str(spec.threads)) for name, spec in self.catalog.devices.items()],
        )
        console.print_line("orilla doctor runs the installed engines and reports problems")


def execute(arguments: argparse.Namespace) -> DeviceResult | MachineResult:
    """Detect the machine, or look up a device in the catalogue."""
    devices = catalog(arguments.catalog)
    if arguments.device is not None:
        return DeviceResult(arguments.device, devices.device(arguments.device))
    machine = detect()
    name = devices.of_board(machine.board) or next(iter(_generic_devices(devices, machine)), None)
    return MachineResult(machine, name, _engine_rows(devices), devices)


def _generic_devices(devices: Catalog, machine: Machine) -> list[str]:
    """Return the names of the generic devices of the machine's architecture."""
    return [name for name, spec in devices.devices.items() if spec.arch == machine.arch and not spec.match]


def _engine_rows(devices: Catalog) -> list[EngineRow]:
    """Return a row for each engine."""
    providers = doctor.providers()
    rows = []
    for name, engine in registry.ENGINES.items():
        here = registry.available(name, providers)
        spec, package = devices.engines.get(name), registry.ENGINES.package(name)
        title, runs_on = (f"plug-in of {package}", "") if spec is None else (spec.title, spec.runs_on)
        rows.append(EngineRow(name, title, runs_on, here, None if here else engine.install))
    return rows


def _print_machine(console: ResultConsole, machine: Machine, device: str | None) -> None:
    rows = {
        "machine": str(machine),
        "known as": device,
        "CPU features": " ".join(machine.features),
        "cores": f"{machine.cores} of {machine.cores_online} usable",
        "clock": _clock(machine),
        "temperature": None if machine.temperature_c is None else f"{machine.temperature_c:.0f} degrees Celsius",
        "slowed down": ", ".join(machine.throttled),
        "memory": _memory(machine),
        "accelerators": ", ".join(accelerator.name for accelerator in machine.accelerators) or "none",
        "packages": ", ".join(f"{name} {release}" for name, release in machine.engines.items()),
        "Python": f"{machine.python}, {machine.bits}-bit",
    }
    for name, text in rows.items():
        if text:
            console.print_line(f"{name:<13} {text}")


def _clock(machine: Machine) -> str:
    mhz = f"up to {machine.max_mhz} MHz" if machine.max_mhz else ""
    return ", ".join(part for part in (mhz, f"governor {machine.governor}" if machine.governor else "") if part)


def _memory(machine: Machine) -> str:
    limit = f", limited to {machine.memory_limit_mib} MiB by the control group" if machine.memory_limit_mib else ""
    free = "" if machine.memory_free_mib is None else f", {machine.memory_free_mib} MiB free"
    return f"{machine.memory_mib} MiB{free}{limit}"


def _print_device(console: ResultConsole, name: str, spec: DeviceSpec) -> None:
    console.print_line(f"{name}: {spec.title}")
    rows = {
        "CPU": _cpu(spec),
        "memory": " or ".join(f"{mib} MiB" for mib in spec.memory_mib),
        "features": " ".join(spec.features),
        "accelerators": ", ".join(spec.accelerators),
        "engines": ", ".join(spec.engines),
        "precisions": ", ".join(spec.precisions),
        "threads": f"{spec.threads}: one core is left for the loop" if spec.cores > 1 else "1",
        "source": spec.source,
    }
    for label, text in rows.items():
        if text:
            console.print_line(f"{label:<13} {text}")
    if spec.latencies:
        latencies = [(row.model, row.precision, row.engine, f"{row.ms:g}", row.source) for row in spec.latencies]
        _print_table(console, "published latencies", ("model", "precision", "engine", "ms", "source"), latencies)


def _cpu(spec: DeviceSpec) -> str:
    clock = f" at {spec.mhz} MHz" if spec.mhz else ""
    return f"{spec.cores} x {spec.cpu}{clock}" if spec.cpu and spec.mhz else spec.cpu or "any"


def _print_table(console: ResultConsole, title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=column in ("engine", "device", "model"))
    for row in rows:
        table.add_row(*row)
    console.print_line("")
    console.print_table(table)

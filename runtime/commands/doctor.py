"""The command `orilla doctor`: find problems of this machine and installation."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orilla.devices import plugins
from orilla.devices.detect import Machine, detect
from orilla.devices.doctor import examine
from orilla.devices.finding import Finding
from orilla.runtime import doctor
from orilla.runtime.commands.result import CommandResult

if TYPE_CHECKING:
    from orilla.runtime.terminal.console import ResultConsole

MARKS = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}
"""Word that begins the line of a finding, by the level of the finding."""


PLUGINS = {
    "orilla.tasks": "orilla.runtime.tasks.registry:TASKS",
    "orilla.engines": "orilla.runtime.engines.registry:ENGINES",
    "orilla.sources": "orilla.runtime.sources.registry:SOURCES",
    "orilla.sinks": "orilla.runtime.sinks.registry:SINKS",
    "orilla.datasets": "orilla.runtime.evaluation.datasets.registry:READERS",
    "orilla.importers": "orilla.export.imports.registry:IMPORTERS",
    "orilla.models": "orilla.train.models:MODELS",
}
"""For each group of entry points, the table that its plug-ins extend."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--no-engines", action="store_true", help="check the machine and the installation without running the engines"
    )


@dataclass(frozen=True, slots=True)
class DoctorResult(CommandResult):
    """The findings on this machine."""

    machine: Machine
    findings: list[Finding]

    @property
    def exit_code(self) -> int:
        """Return 0 if no finding is a failure, else 1."""
        return 0 if all(finding.passed for finding in self.findings) else 1

    def render(self, console: ResultConsole) -> None:
        """Print each finding, and how to fix it."""
        console.print_line(str(self.machine))
        for finding in self.findings:
            console.print_line(f"{MARKS[finding.level]} {finding.name}: {finding.detail}")
            if finding.fix:
                console.print_line(f"     fix: {finding.fix}")


def execute(arguments: argparse.Namespace) -> DoctorResult:
    """Check the machine and the installation, and run the installed engines."""
    machine = detect()
    findings = [*examine(machine), *plugins.examine(PLUGINS)]
    if not arguments.no_engines:
        has_edgetpu = any(accelerator.kind.startswith("edgetpu") for accelerator in machine.accelerators)
        findings += doctor.examine(edgetpu=has_edgetpu)
    return DoctorResult(machine, findings)

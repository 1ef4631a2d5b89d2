"""Diagnose a machine and its installation from files. The command `orilla doctor` also runs the engines."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.checks import accelerators, board, packages
from orilla.devices.detect import Machine, detect
from orilla.devices.finding import Finding


def examine(machine: Machine | None = None, root: Path = Path("/")) -> list[Finding]:
    """Return all findings, including those that report no problem.

    Args:
        machine: The machine. If None, this machine is examined.
        root: Root of the file system.
    """
    machine = machine or detect(root)
    return [*board.examine(machine), *packages.examine(machine.bits), *accelerators.examine(machine, root)]

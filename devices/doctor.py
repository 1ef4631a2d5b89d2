"""What is wrong with a machine and its installation, as far as files tell; the command runs the engines too."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.checks import accelerators, board, packages
from orilla.devices.detect import Machine, detect
from orilla.devices.finding import Finding


def examine(machine: Machine | None = None, root: Path = Path("/")) -> list[Finding]:
    """All findings, the good ones too."""
    machine = machine or detect(root)
    return [*board.examine(machine), *packages.examine(machine.bits), *accelerators.examine(machine, root)]

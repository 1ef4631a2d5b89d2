"""The command `orilla doctor`."""

from __future__ import annotations

import argparse

from orilla.devices.detect import detect
from orilla.devices.doctor import examine
from orilla.devices.finding import Finding
from orilla.runtime import doctor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--no-engines", action="store_true", help="run no engine; check only files")


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Examine the machine. The exit code is 0 without failures, else 1."""
    machine = detect()
    findings = examine(machine)
    if not arguments.no_engines:
        findings += doctor.examine(edgetpu=any(one.kind.startswith("edgetpu") for one in machine.accelerators))
    return 0 if all(finding.passed for finding in findings) else 1, {"machine": machine, "findings": findings}


def show(document: dict[str, object]) -> None:
    """Print each finding, and how to fix it."""
    findings: list[Finding] = document["findings"]  # type: ignore[assignment]
    print(document["machine"])
    marks = {"ok": "ok  ", "warning": "warn", "failure": "FAIL"}
    for finding in findings:
        print(f"{marks[finding.level]} {finding.name}: {finding.detail}")
        if finding.fix:
            print(f"     fix: {finding.fix}")

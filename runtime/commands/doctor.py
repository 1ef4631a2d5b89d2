"""The command `orilla doctor`."""

from __future__ import annotations

import argparse

from orilla.devices.detect import detect
from orilla.devices.doctor import Finding, examine


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are no options of its own."""


def execute(arguments: argparse.Namespace) -> tuple[int, dict[str, object]]:
    """Examines; exit code 0 where nothing is wrong, else 1."""
    findings = examine()
    return 0 if all(finding.passed for finding in findings) else 1, {"machine": detect(), "findings": findings}


def show(document: dict[str, object]) -> None:
    """Prints each finding, and how to mend it."""
    findings: list[Finding] = document["findings"]  # type: ignore[assignment]
    print(document["machine"])
    for finding in findings:
        print(f"{'ok  ' if finding.passed else 'FAIL'} {finding.name}: {finding.detail}")
        if finding.mend:
            print(f"     mend it: {finding.mend}")

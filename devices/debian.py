"""The installed Debian packages."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.reading import read


def packages(root: Path = Path("/")) -> dict[str, str]:
    """Return the versions of the installed Debian packages. The keys are the names. Empty on a system without dpkg."""
    versions = {}
    for paragraph in read(root / "var/lib/dpkg/status").split("\n\n"):
        lines = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if lines.get("Status", "").endswith(" installed") and "Package" in lines:
            versions[lines["Package"]] = lines.get("Version", "")
    return versions

"""Write the list of the packages that the wheel of Orilla installs, with their licences: `make sbom`.

The script installs the wheel into a fresh environment, and describes this environment with `cyclonedx-py` in the format
CycloneDX (JSON), beside the wheel. It exits with 1 if a package that Orilla requires is missing in the list, if a
package states no licence, or if a licence is not in `ALLOWED`. With `--extras train,export`, the packages of these
extras are included.

The list contains the licences that the packages state. `docs/licences.md` describes the libraries inside their wheels.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import zipfile
from email.parser import BytesParser
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
BUILD = PROJECT / "build" / "sbom"
TOOL = "cyclonedx-bom>=7"

ALLOWED = (
    "Apache",
    "MIT",
    "BSD",
    "PSF",
    "Python-2.0",
    "MPL-2.0",
    "ISC",
    "Zlib",
    "HPND",
    "CC0",
    "0BSD",
    "Unlicense",
    "EPL",
)
"""Parts of the names of licences that allow a program with other licences to use the package."""

UNSTATED = {
    "protobuf": "BSD-3-Clause",  # Source: the file LICENSE in its repository, protocolbuffers/protobuf.
}
"""Licences of packages whose metadata does not state them."""


def python_of(name: str) -> Path:
    """Create a fresh environment with this name, and return its Python."""
    folder = BUILD / name
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    return folder / "bin" / "python"


def describe(wheel: Path, extras: str, out: Path) -> None:
    """Install the wheel, and write the list of all packages in its environment."""
    orilla, tool = python_of("orilla"), python_of("tool")
    target = f"{wheel}[{extras}]" if extras else str(wheel)
    subprocess.run([orilla, "-m", "pip", "install", "--quiet", target], check=True)
    subprocess.run([orilla, "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools"], check=True)
    subprocess.run([tool, "-m", "pip", "install", "--quiet", TOOL], check=True)
    words = ("environment", "--pyproject", PROJECT / "pyproject.toml", "--mc-type", "library", "--output-reproducible")
    subprocess.run([tool.with_name("cyclonedx-py"), *words, "--output-file", out, orilla], check=True)


def licences_of(component: dict[str, Any]) -> list[str]:
    """Return the licences that a package states, or the known licence of a package that states none."""
    found = []
    for entry in component.get("licenses", []):
        licence = entry.get("license", {})
        found.append(entry.get("expression") or licence.get("id") or licence.get("name") or "")
    return [one for one in found if one] or [UNSTATED[name] for name in [component["name"]] if name in UNSTATED]


def required(wheel: Path) -> set[str]:
    """Return the names of the packages that the wheel requires without extras and on this system."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        lines = BytesParser().parsebytes(archive.read(name)).get_all("Requires-Dist") or []
    plain = [line for line in lines if ";" not in line]
    return {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in plain}


def normal(name: str) -> str:
    """Return the normalised name of a package, as in PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def problems(document: dict[str, Any], needed: set[str]) -> list[str]:
    """Return a line for each package that is missing, or whose licence is not stated or not allowed."""
    components = document.get("components", [])
    listed = {normal(component["name"]) for component in components}
    found = [f"{name} is required, but missing in the list" for name in sorted(needed - listed)]
    for component in components:
        licences = licences_of(component)
        if not licences:
            found.append(f"{component['name']} {component['version']} states no licence")
        found += [
            f"{component['name']} {component['version']} has the licence {licence!r}, which is not in ALLOWED"
            for licence in licences
            if not any(part in licence for part in ALLOWED)
        ]
    return found


def main() -> int:
    """Write the list, print it, and return 1 if a licence is missing or not allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", default="", help="extras to include, separated by commas")
    arguments = parser.parse_args()
    wheels = sorted((PROJECT / "dist").glob("orilla-*.whl"))
    if not wheels:
        print("no wheel in dist/: run make wheel", file=sys.stderr)
        return 2
    out = wheels[-1].with_suffix(".cdx.json")
    describe(wheels[-1], arguments.extras, out)
    document = json.loads(out.read_text())
    for component in document.get("components", []):
        print(f"{component['name']:28} {component['version']:14} {', '.join(licences_of(component))}")
    wrong = problems(document, required(wheels[-1]))
    for line in wrong:
        print(f"FAILED: {line}", file=sys.stderr)
    print(f"{len(document.get('components', []))} packages: {out.relative_to(PROJECT)}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

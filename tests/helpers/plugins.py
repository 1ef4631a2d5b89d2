"""Write packages with plug-ins, as `pip install` would leave them in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_package(
    folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], files: Mapping[str, str] | None = None
) -> Path:
    """Write the metadata and the modules of an installed package, version 1.0.

    Args:
        folder: Folder that is or will be on the path of Python.
        name: Name of the package.
        entry_points: Name and value of each entry point by group, such as `{"orilla.sinks": {"x": "module:SINK"}}`.
        files: Text of each file by its path in the folder.
    """
    metadata = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for path, text in (files or {}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder

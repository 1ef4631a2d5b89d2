"""Write packages with plug-ins into a folder, with the files that `pip install` would write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from helpers.bundles import BUNDLES
from orilla.runtime.bundle import bundle as bundle_files
from orilla.runtime.bundle.bundle import Bundle


def write_package(
    folder: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], files: Mapping[str, str] | None = None
) -> Path:
    """Write the metadata and the modules of an installed package, version 1.0.

    Args:
        folder: Folder that is on `sys.path` or will be added to it.
        name: Name of the package.
        entry_points: Name and value of each entry point by group, such as `{"orilla.sinks": {"x": "module:SINK"}}`.
        files: Content of each file. The keys are paths relative to `folder`.
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


def count_bundle(path: Path) -> Path:
    """Write a bundle with the task `count` of the package `orilla-count`. Its heat map is the mask of `road.orilla`."""
    original = Bundle.open(BUNDLES / "road.orilla")
    manifest = original.manifest
    metrics = {"exact": 1.0, "mean_absolute_error": 0.0}
    variants = tuple(
        msgspec.structs.replace(
            variant,
            check=msgspec.structs.replace(variant.check, metrics=metrics),
            # A change of one cell in a mask can change the number of regions.
            tolerance=msgspec.structs.replace(variant.tolerance, agreement=0.0),
        )
        for variant in manifest.variants
    )
    report = msgspec.structs.replace(manifest.report, metrics=metrics)
    files = {name: original.read(name) for name in manifest.files}
    changed = msgspec.structs.replace(
        manifest, task="count", labels=("region",), variants=variants, report=report, card=None
    )
    bundle_files.write(path, changed, files)
    return path

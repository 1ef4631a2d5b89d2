"""A small bundle with the task `regress`."""

from __future__ import annotations

from pathlib import Path

import msgspec

from helpers.bundles import BUNDLES
from orilla.runtime.bundle import bundle as bundle_files
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.tasks.decoding import Decoding

NAMES = ("steering", "throttle")
DECODING = Decoding(units=("deg", ""), ranges=((-25.0, 25.0), (-1.0, 1.0)), normalised=True)


def regression_bundle(path: Path) -> Path:
    """Write a bundle with the network of `animals.orilla`. The task treats its outputs 0-1 as two normalised values."""
    original = Bundle.open(BUNDLES / "animals.orilla")
    manifest = original.manifest
    metrics = {"closeness": 1.0}
    variants = tuple(
        msgspec.structs.replace(variant, check=msgspec.structs.replace(variant.check, metrics=metrics))
        for variant in manifest.variants
    )
    changes = {
        "name": "driver",
        "task": "regress",
        "labels": NAMES,
        "decoding": DECODING,
        "card": None,
        "variants": variants,
        "report": msgspec.structs.replace(manifest.report, metrics=metrics),
    }
    files = {name: original.read(name) for name in manifest.files}
    bundle_files.write(path, msgspec.structs.replace(manifest, **changes), files)
    return path

"""Partial bundles: write only the files that another machine lacks, and rebuild the whole bundle there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from orilla.devices.errors import BundleError
from orilla.runtime.bundle.bundle import Bundle, write_files
from orilla.runtime.bundle.container import MANIFEST, read_container
from orilla.runtime.bundle.signature import SIGNATURE


def write_part(path: Path, bundle: Bundle, present: Collection[str]) -> int:
    """Write the files of a bundle that are missing on the other machine. Return their total size."""
    names = [name for name, entry in bundle.manifest.files.items() if entry.sha256 not in present]
    content = {MANIFEST: bundle.manifest_bytes, **{name: bundle.read(name) for name in sorted(names)}}
    if bundle.signature is not None:
        content[SIGNATURE] = bundle.signature
    write_files(path, content)
    return sum(map(len, content.values()))


def read_whole(path: Path, present: Mapping[str, Path]) -> Bundle:
    """Read a bundle or a partial bundle. Files that it lacks are taken from `present`.

    Args:
        path: The bundle or the partial bundle.
        present: Files on this machine by their SHA-256 (hex).

    Raises:
        BundleError: A file is missing or damaged, or the bundle is invalid.
    """
    read, files = read_container(path, partial=True)
    for name, entry in read.manifest.files.items():
        if name in files:
            continue
        other = present.get(entry.sha256)
        data = other.read_bytes() if other is not None else b""
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            msg = f"{path.name}: {name} is missing, and no release on this machine contains it"
            raise BundleError(msg)
        files[name] = data
    bundle = Bundle(path, read.manifest, files)
    bundle.manifest_bytes, bundle.signature = read.data, read.signature
    return bundle

"""What `orilla tune` chose for a bundle on this machine, and whether it still holds."""

from __future__ import annotations

import hashlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from orilla.devices.cores import available_cores
from orilla.devices.packages import ENGINES
from orilla.runtime.files import cache_folder, make_folder, write_bytes
from orilla.runtime.manifest import Manifest, encode
from orilla.runtime.run_folder import encode_json

OFF = "ORILLA_NO_TUNED"
"""Environment variable: set, nothing that was tuned is used."""


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to run a bundle."""

    variant: str
    engine: str
    threads: int

    def __str__(self) -> str:
        return f"{self.variant} on {self.engine} with {self.threads} thread{'s' if self.threads > 1 else ''}"


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: a choice, and what it depends on."""

    choice: Candidate
    p50_ms: float
    cores: int
    """That the process could use."""
    packages: dict[str, str]
    """Versions of the engines that were installed."""
    tuned_on: str
    """The machine, for people."""


def lookup(manifest: Manifest) -> tuple[Candidate | None, str | None]:
    """The choice for a bundle; or None, and why one that is there is not used.

    A file that cannot be read counts as none: a loop starts all the same.
    """
    if os.environ.get(OFF):
        return None, None
    try:
        tuned = msgspec.json.decode(_path(manifest).read_bytes(), type=Tuned)
    except (OSError, msgspec.DecodeError):
        return None, None
    stale = _stale(tuned)
    return (None, stale) if stale else (tuned.choice, None)


def keep(manifest: Manifest, tuned: Tuned) -> Path:
    """Writes a choice; raises `OutputError`."""
    path = _path(manifest)
    make_folder(path.parent)
    write_bytes(path, encode_json(tuned))
    return path


def packages() -> dict[str, str]:
    """The versions of all engines, as a choice depends on them."""
    found = {}
    for name in ENGINES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _stale(tuned: Tuned) -> str | None:
    now = packages()
    for name in sorted({*now, *tuned.packages}):
        was, is_now = tuned.packages.get(name, "not installed"), now.get(name, "not installed")
        if was != is_now:
            return f"tuned with {name} {was}, now {is_now}"
    if tuned.cores != available_cores():
        return f"tuned with {tuned.cores} cores, now {available_cores()}"
    return None


def _path(manifest: Manifest) -> Path:
    return cache_folder() / "tuned" / f"{hashlib.sha256(encode(manifest)).hexdigest()[:32]}.json"

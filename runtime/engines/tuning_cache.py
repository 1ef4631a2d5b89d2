"""What `orilla tune` chose for a bundle on this machine, and whether it still holds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from orilla.devices.cores import available_cores
from orilla.devices.detect import identity
from orilla.devices.errors import ConfigError
from orilla.devices.packages import ENGINES, installed
from orilla.runtime.bundle.manifest import Manifest, encode
from orilla.runtime.bundle.run_folder import encode_json
from orilla.runtime.files import cache_folder, make_folder, write_bytes

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
    machine: str
    """That it was tuned on."""


def lookup(manifest: Manifest) -> tuple[Candidate | None, str | None]:
    """The choice for a bundle; or None, and why one that is there is not used.

    A file that cannot be read counts as none, a damaged one is told: a loop starts all the same.
    """
    if os.environ.get(OFF):
        return None, None
    try:
        tuned = msgspec.json.decode(_path(manifest).read_bytes(), type=Tuned)
    except (OSError, ConfigError):
        return None, None
    except msgspec.DecodeError:
        return None, "the file of what was tuned is damaged"
    stale = _stale(tuned)
    return (None, stale) if stale else (tuned.choice, None)


def check_writable() -> None:
    """Raises `OutputError`, `ConfigError` where nothing could be kept, before the work."""
    make_folder(cache_folder() / "tuned")


def keep(manifest: Manifest, tuned: Tuned) -> Path:
    """Writes a choice; raises `OutputError`."""
    path = _path(manifest)
    make_folder(path.parent)
    write_bytes(path, encode_json(tuned))
    return path


def current() -> tuple[str, int, dict[str, str]]:
    """What a choice depends on: the machine, the cores that may be used, and the versions of all engines."""
    return identity(), available_cores(), installed(ENGINES)


def _stale(tuned: Tuned) -> str | None:
    machine, cores, now = current()
    if tuned.machine != machine:
        return f"tuned on {tuned.machine}, this is {machine}"
    for name in sorted({*now, *tuned.packages}):
        was, is_now = tuned.packages.get(name, "not installed"), now.get(name, "not installed")
        if was != is_now:
            return f"tuned with {name} {was}, now {is_now}"
    if tuned.cores != cores:
        return f"tuned with {tuned.cores} cores, now {cores}"
    return None


def _path(manifest: Manifest) -> Path:
    return cache_folder() / "tuned" / f"{hashlib.sha256(encode(manifest)).hexdigest()[:32]}.json"

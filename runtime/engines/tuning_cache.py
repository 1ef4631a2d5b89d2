"""Cache of the choices of `orilla tune` for bundles on this machine, and their validity."""

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
"""Environment variable that turns tuned choices off."""


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to run a bundle."""

    variant: str
    engine: str
    threads: int

    def __str__(self) -> str:
        return f"{self.variant} on {self.engine} with {self.threads} thread{'s' if self.threads > 1 else ''}"


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the file: a choice, and what it depends on."""

    choice: Candidate
    p50_ms: float
    cores: int
    """Number of usable cores."""
    packages: dict[str, str]
    """Versions of the installed engines."""
    machine: str
    """Machine of the tuning."""


def lookup(manifest: Manifest) -> tuple[Candidate | None, str | None]:
    """Return the choice for a bundle; or None, and the reason why an existing choice is not used.

    An unreadable file counts as none, and a damaged one is reported. Both leave the loop able to start.
    """
    if os.environ.get(OFF):
        return None, None
    try:
        tuned = msgspec.json.decode(_path(manifest).read_bytes(), type=Tuned)
    except (OSError, ConfigError):
        return None, None
    except msgspec.DecodeError:
        return None, "the file with the tuned choice is damaged"
    stale = _stale(tuned)
    return (None, stale) if stale else (tuned.choice, None)


def check_writable() -> None:
    """Raise `OutputError` or `ConfigError` if a choice could not be stored."""
    make_folder(cache_folder() / "tuned")


def keep(manifest: Manifest, tuned: Tuned) -> Path:
    """Store a choice. Raises `OutputError`."""
    path = _path(manifest)
    make_folder(path.parent)
    write_bytes(path, encode_json(tuned))
    return path


def current() -> tuple[str, int, dict[str, str]]:
    """Return what a choice depends on: machine, usable cores, and versions of all engines."""
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

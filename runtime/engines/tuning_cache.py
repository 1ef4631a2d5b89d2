"""Store the choices that `orilla tune` made for bundles on this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from orilla.devices.cores import available_cores
from orilla.devices.detect import identity
from orilla.devices.errors import ConfigError, DataError
from orilla.devices.gate import only_our_errors, read_file
from orilla.devices.packages import ENGINES, installed
from orilla.runtime.bundle.manifest import Manifest, encode
from orilla.runtime.bundle.run_folder import encode_json
from orilla.runtime.files import cache_folder, make_folder, write_bytes

DISABLED = "ORILLA_NO_TUNED"
"""Environment variable that disables tuned choices."""


class Candidate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One way to run a bundle: a variant, an engine and a number of threads."""

    variant: str
    engine: str
    threads: int

    def __str__(self) -> str:
        return f"{self.variant} on {self.engine} with {self.threads} thread{'s' if self.threads > 1 else ''}"


MAX_BYTES = 1 << 20
"""Maximum size of a cache file in bytes."""


class Tuned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of a cache file: a choice, and the conditions under which it is valid."""

    choice: Candidate
    p50_ms: float
    """Median time of an inference in milliseconds."""
    cores: int
    """Number of cores that the process could use."""
    packages: dict[str, str]
    """Version of each installed package that contains an engine."""
    machine: str
    """Name of the machine."""


def lookup(manifest: Manifest) -> tuple[Candidate | None, str | None]:
    """Return the stored choice for a bundle, and the reason if it cannot be used.

    One of the two is None. If there is no stored choice or it cannot be read, both are None. A missing or damaged file
    never prevents the loop from starting.
    """
    if os.environ.get(DISABLED):
        return None, None
    try:
        path = _path(manifest)
        if not path.exists():
            return None, None
        with only_our_errors(path):
            tuned = msgspec.json.decode(read_file(path, MAX_BYTES), type=Tuned)
    except DataError:
        return None, "the file with the tuned choice is damaged"
    except (OSError, ConfigError):
        return None, None
    stale = _stale(tuned)
    return (None, stale) if stale else (tuned.choice, None)


def check_writable() -> None:
    """Raise `OutputError` or `ConfigError` if choices cannot be stored."""
    make_folder(cache_folder() / "tuned")


def store(manifest: Manifest, tuned: Tuned) -> Path:
    """Store a choice and return the path of its file. Raise `OutputError` if it cannot be written."""
    path = _path(manifest)
    make_folder(path.parent)
    write_bytes(path, encode_json(tuned))
    return path


def current() -> tuple[str, int, dict[str, str]]:
    """Return the current conditions: the machine, the number of usable cores, and the versions of all packages."""
    return identity(), available_cores(), installed(ENGINES)


def _stale(tuned: Tuned) -> str | None:
    machine, cores, now = current()
    if tuned.machine != machine:
        return f"tuned on {tuned.machine}, but this is {machine}"
    for name in sorted({*now, *tuned.packages}):
        was, is_now = tuned.packages.get(name, "not installed"), now.get(name, "not installed")
        if was != is_now:
            return f"tuned with {name} {was}, but {is_now} is installed"
    if tuned.cores != cores:
        return f"tuned with {tuned.cores} cores, but {cores} are usable now"
    return None


def _path(manifest: Manifest) -> Path:
    return cache_folder() / "tuned" / f"{hashlib.sha256(encode(manifest)).hexdigest()[:32]}.json"

"""Deployments: folders with releases of a bundle. One of the releases is in force.

The folder contains `releases/DIGEST/NAME`, each a bundle, and numbered records. The newest complete record names the
release in force and the previous release. A record is never changed: each switch writes a new record. A power failure
therefore leaves the old or the new record, even on file systems that cannot replace a file atomically.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from orilla.devices.errors import BundleError, ConfigError, OutputError
from orilla.devices.gate import only_our_errors, read_file
from orilla.runtime.files import write_durably

RELEASES = "releases"
RECORD = re.compile(r"deployment-(\d{1,12})\.json", re.ASCII)
KEPT = 2
"""Number of records that are kept. The older one is used if the newer one is damaged."""

MAX_RECORD_BYTES = 1 << 20
MAX_STARTS = 3
"""Number of boots in which a release on probation may crash before it is rolled back."""


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One release in a deployment."""

    path: str
    """Path of the bundle, relative to the folder `releases`: `DIGEST/NAME`."""
    name: str
    """Name of the bundle, as in its manifest."""
    key: str | None
    """Fingerprint of the key that signed the bundle. None if signatures are not checked."""
    counter: int
    """Counter of the signature. 0 if signatures are not checked."""

    @property
    def digest(self) -> str:
        """Return the digest of the release, as `digest_of` computes it."""
        return self.path.partition("/")[0]


class Probation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The probation of a new release: the period in which it must prove that it works."""

    seconds: float
    """Time in seconds for which a loop must run and answer."""
    starts: tuple[str, ...] = ()
    """For each start of the loop that has not ended properly, the identity of the boot (`boot_id`)."""


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of a record."""

    number: int
    current: Release
    previous: Release | None = None
    trust: tuple[str, ...] = ()
    """Paths of the public keys, one of which must have signed each release."""
    probation: Probation | None = None
    """The running probation of the current release. None if the release has proved that it works."""
    failed: str | None = None
    """One-line reason why the most recently deployed release was rolled back. None if it was not rolled back."""


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    record: msgspec.Raw
    sha256: str


class Deployment:
    """A folder with releases, and its newest record."""

    def __init__(self, folder: Path, record: Record) -> None:
        self.folder, self.record = folder, record

    @classmethod
    def read(cls, folder: Path) -> Deployment | None:
        """Read a deployment. Return None if the folder is not a deployment, or if nothing was deployed yet.

        Raises:
            BundleError: No record is complete.
        """
        numbers = _numbers(folder) if (folder / RELEASES).is_dir() else []
        problem: BundleError | None = None
        for number in reversed(numbers):
            try:
                return cls(folder, _read(folder / _file(number)))
            except BundleError as error:
                problem = problem or error
        if problem is not None:
            raise problem
        return None

    @property
    def path(self) -> Path:
        """Path of the bundle that is in force."""
        return self.path_of(self.record.current)

    def path_of(self, release: Release) -> Path:
        """Return the path of the bundle of a release."""
        return self.folder / RELEASES / release.path

    def switch(self, record: Record) -> None:
        """Write the next record. The record is in force when this method returns. The caller must hold the lock.

        Raises:
            OutputError: The record cannot be written. The current release stays in force.
        """
        self.record = msgspec.structs.replace(record, number=self.record.number + 1)
        write_record(self.folder, self.record)


def digest_of(manifest: bytes, signature: bytes | None) -> str:
    """Return the digest that identifies a release.

    It covers the signature and the manifest, which contains all hashes.
    """
    return hashlib.sha256(manifest + b"\0" + (signature or b"")).hexdigest()[:32]


def write_record(folder: Path, record: Record) -> None:
    """Write a record, and remove records that are no longer needed."""
    data = msgspec.json.encode(record)
    sealed = _Sealed(msgspec.Raw(data), hashlib.sha256(data).hexdigest())
    write_durably(folder / _file(record.number), msgspec.json.encode(sealed) + b"\n")
    for number in _numbers(folder)[:-KEPT]:
        with suppress(OSError):
            (folder / _file(number)).unlink()


def rolled_back(deployment: Deployment, reason: str) -> None:
    """Return to the previous release. The caller must hold the lock.

    Args:
        deployment: The deployment.
        reason: One-line reason.

    Raises:
        ConfigError: There is no previous release.
    """
    record = deployment.record
    if record.previous is None:
        msg = f"{deployment.folder} has no previous release to return to"
        raise ConfigError(msg)
    deployment.switch(
        msgspec.structs.replace(
            record, current=record.previous, previous=record.current, probation=None, failed=reason[:1000]
        )
    )


@contextmanager
def locked(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Lock a deployment for a short time, so that no other process changes it.

    Args:
        folder: Folder of the deployment.
        name: Name of the lock. An installation takes long and therefore uses its own lock, so that no loop waits for
            it.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        lock = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        msg = f"cannot write {folder}, which records the probation of a release: {error.strerror or error}"
        raise OutputError(msg) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _read(path: Path) -> Record:
    data = read_file(path, MAX_RECORD_BYTES, BundleError)
    with only_our_errors(path, BundleError):
        sealed = msgspec.json.decode(data, type=_Sealed)
        if hashlib.sha256(bytes(sealed.record)).hexdigest() != sealed.sha256:
            msg = f"{path} is damaged: its checksum is wrong"
            raise BundleError(msg)
        record = msgspec.json.decode(sealed.record, type=Record)
    for release in (record.current, record.previous):
        if release is not None and not re.fullmatch(r"[0-9a-f]{32}/[A-Za-z0-9][\w.+-]{0,99}", release.path, re.ASCII):
            msg = f"{path} names {release.path[:60]!r}, which is not a release"
            raise BundleError(msg)
    return record


def _numbers(folder: Path) -> list[int]:
    """Return the numbers of the records, starting with the oldest."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        return []
    return sorted(int(match[1]) for name in names if (match := RECORD.fullmatch(name)))


def _file(number: int) -> str:
    return f"deployment-{number:06d}.json"

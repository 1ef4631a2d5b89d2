"""Install a release in a deployment on this machine.

After every step, the old or the new release is complete and in force, even if the power fails: the files of a release
are flushed to the disk under a temporary name, the folder takes its final name, the release is verified, and only then
the next record of the deployment is written.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from orilla.devices.errors import BundleError, ConfigError, OrillaError, OutputError
from orilla.runtime.bundle.bundle import Bundle
from orilla.runtime.bundle.container import MANIFEST
from orilla.runtime.bundle.deployment import (
    RELEASES,
    Deployment,
    Probation,
    Record,
    Release,
    digest_of,
    locked,
    write_record,
)
from orilla.runtime.bundle.manifest import NAME
from orilla.runtime.bundle.partial import read_whole
from orilla.runtime.bundle.signature import SIGNATURE, Signed
from orilla.runtime.bundle.trust import Trust
from orilla.runtime.files import flush_folder, make_folder

SPARE_BYTES = 16 << 20
"""Disk space in bytes that must remain free after a release was written."""

VERIFY_S = 1800.0
"""Time limit in seconds for the verification of a release. Small machines need minutes."""


class RefusedError(OrillaError):
    """Raised if a release does not pass its verification on the device."""


@dataclass(frozen=True, slots=True)
class Order:
    """The release to install, and how to check it."""

    bundle: Path
    """Path of the bundle or the partial bundle."""
    trust: tuple[str, ...] = ()
    """Paths of the public keys, one of which must have signed the bundle. If empty, the keys of the deployment are
    used."""
    probation_s: float = 60.0
    """Probation in seconds, during which the loop must not die. 0 for none."""
    verify: tuple[str, ...] = ()
    """Other options of `orilla verify`."""


def install(order: Order, folder: Path) -> tuple[Deployment, bool]:
    """Install a release and put it in force.

    Args:
        order: The release to install, and how to check it.
        folder: Folder of the deployment. It is created if it is missing.

    Returns:
        The deployment, and whether the release is new.

    Raises:
        BundleError: The bundle is damaged, not trusted, or older than the current one.
        RefusedError: The release does not pass its verification on this machine.
        OutputError: The folder cannot be written, or the disk has too little space.
    """
    _prepare(folder)
    with locked(folder, ".install.lock"):
        deployment = Deployment.read(folder)
        record = None if deployment is None else deployment.record
        trust = tuple(str(Path(key).absolute()) for key in order.trust) or (() if record is None else record.trust)
        bundle = read_whole(order.bundle, hashes(deployment))
        release = _release(bundle, trust, record, _stem(folder))
        path = folder / RELEASES / release.path
        if record is not None and record.current.digest == release.digest and _is_whole(path, release):
            assert deployment is not None
            _clean(folder, record)
            return deployment, False
        if not _is_whole(path, release):
            _write(path, bundle)
        try:
            _verify(path, order)
        except RefusedError:
            _clean(folder, record)
            raise
        with locked(folder):
            # A loop may have changed the record since.
            latest = Deployment.read(folder)
            following = _following(None if latest is None else latest.record, release, trust, order.probation_s)
            write_record(folder, following)
        _clean(folder, following)
        return Deployment(folder, following), True


def _following(record: Record | None, release: Release, trust: tuple[str, ...], probation_s: float) -> Record:
    """Return the record that puts a release in force.

    Its previous release is the last one that has passed its probation.
    """
    if record is None:
        return Record(1, release, None, trust)
    proven = record.current if record.probation is None else record.previous
    previous = next((one for one in (proven, record.previous) if one and one.digest != release.digest), None)
    probation = Probation(probation_s) if probation_s and previous is not None else None
    return Record(record.number + 1, release, previous, trust, probation)


def hashes(deployment: Deployment | None) -> dict[str, Path]:
    """Return the files on this machine that a new release can use, by their SHA-256."""
    found: dict[str, Path] = {}
    if deployment is None:
        return found
    for release in (deployment.record.previous, deployment.record.current):
        if release is None:
            continue
        path = deployment.path_of(release)
        try:
            manifest = Bundle.open(path, every_file=False).manifest
        except OrillaError:
            continue  # Ignore the files of a damaged release.
        found |= {entry.sha256: path / name for name, entry in manifest.files.items()}
    return found


def _prepare(folder: Path) -> None:
    """Create the folder of a deployment. Raise `ConfigError` if the folder contains something else."""
    if folder.is_dir() and not (folder / RELEASES).is_dir() and any(folder.iterdir()):
        msg = f"to={folder}: this folder is not empty and is not a deployment: give a new or empty folder"
        raise ConfigError(msg)
    make_folder(folder / RELEASES)
    for parent in (folder, folder.parent):
        with suppress(PermissionError):  # The user may write into the folder, but not read its parent.
            flush_folder(parent)


def _release(bundle: Bundle, trust: tuple[str, ...], record: Record | None, stem: str) -> Release:
    """Check the signature and the counter of a bundle, and return its entry in the record."""
    keys = Trust.read(trust)
    signed = Signed("", 0)
    if keys is not None:
        bundle.check_trust(keys, None)
        assert bundle.signed is not None
        signed = bundle.signed
    name = bundle.manifest.name
    release = Release(
        f"{digest_of(bundle.manifest_bytes, bundle.signature)}/{stem}", name, signed.key or None, signed.counter
    )
    current = None if record is None else record.current
    if current is not None and (current.key, current.name) == (release.key, name) and signed.counter < current.counter:
        msg = (
            f"{bundle.path.name} is older than the release in force: its counter is {signed.counter}, but that of the "
            f"release is {current.counter}; use --rollback, or sign it again"
        )
        raise BundleError(msg)
    return release


def _stem(folder: Path) -> str:
    """Return the name that the bundle gets in each release.

    It comes from the deployment, so that the model keeps its name.
    """
    name = folder.resolve().name
    return name if NAME.fullmatch(name) else "bundle"


def _is_whole(path: Path, release: Release) -> bool:
    """Return True if a release is on the disk and none of its files is damaged."""
    try:
        bundle = Bundle.open(path) if path.is_dir() else None
    except BundleError:
        return False
    return bundle is not None and digest_of(bundle.manifest_bytes, bundle.signature) == release.digest


def _write(path: Path, bundle: Bundle) -> None:
    """Write a release and flush it to the disk. It gets its name when it is complete."""
    content = {MANIFEST: bundle.manifest_bytes, **{name: bundle.read(name) for name in bundle.manifest.files}}
    if bundle.signature is not None:
        content[SIGNATURE] = bundle.signature
    releases = path.parents[1]
    try:
        _check_space(releases, sum(map(len, content.values())))
        temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=releases))
        temporary.chmod(0o755)
    except OSError as error:
        raise _output_error(releases, error) from error
    try:
        folders = {temporary}
        for name, data in content.items():
            target = temporary / path.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            folders |= {parent for parent in target.parents if parent.is_relative_to(temporary)}
            with target.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        for folder in sorted(folders, reverse=True):
            flush_folder(folder)
        if path.parent.exists():  # A damaged release.
            path.parent.rename(temporary / "damaged")
        temporary_release = temporary.rename(path.parent)
        flush_folder(releases)
        shutil.rmtree(temporary_release / "damaged", ignore_errors=True)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _output_error(path: Path, error: OSError) -> OSError:
    if isinstance(error, OrillaError):
        return error
    return OutputError(f"cannot write {path}: {error.strerror or error}")


def _check_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        msg = f"{folder} has {free >> 20} MiB of free space, but the release needs {(size + SPARE_BYTES) >> 20} MiB"
        raise OutputError(msg)


def _verify(path: Path, order: Order) -> None:
    """Verify a release in a separate process, because its model could crash the engine."""
    command = [sys.executable, "-P", "-m", "orilla.runtime.cli", "verify", str(path), *order.verify, "--json"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=VERIFY_S, check=False)
    except subprocess.TimeoutExpired as error:
        msg = f"the release was not installed:  its verification did not end within {VERIFY_S:g} s"
        raise RefusedError(msg) from error
    if ended.returncode != 0:
        msg = f"the release was not installed:  {_reason(ended)}"
        raise RefusedError(msg)


def _reason(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the first reason for which `orilla verify` failed."""
    if ended.returncode < 0:
        return f"its model crashed the engine (signal {-ended.returncode})"
    try:
        document = json.loads(ended.stdout)
    except ValueError:
        lines = ended.stderr.strip().splitlines()
        return lines[-1].removeprefix("orilla: ") if lines else f"orilla verify ended with code {ended.returncode}"
    failed = [
        f"{variant['variant']}: {stage['name']}: {stage['detail']}"
        for variant in document["variants"]
        for stage in variant["stages"]
        if not stage["passed"]
    ]
    failed += [limit["reason"] for limit in document["budgets"] if limit["reason"]]
    return failed[0] if failed else "orilla verify failed"


def _clean(folder: Path, record: Record | None) -> None:
    """Remove the releases that the record does not name, and the leftovers of interrupted installations."""
    named = () if record is None else (record.current, record.previous)
    kept = {release.digest for release in named if release is not None}
    remains = [path for path in (folder / RELEASES).iterdir() if path.name not in kept]
    for path in (*remains, *folder.glob(".deployment-*")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def roll_back(folder: Path) -> Deployment:
    """Return to the previous release.

    Raises:
        ConfigError: The folder is not a deployment, or there is no previous release.
        BundleError: The previous release is damaged.
    """
    if not (folder / RELEASES).is_dir():
        msg = f"to={folder}: this is not a deployment"
        raise ConfigError(msg)
    with locked(folder):
        deployment = Deployment.read(folder)
        if deployment is None or deployment.record.previous is None:
            msg = f"to={folder}: there is no previous release to return to"
            raise ConfigError(msg)
        previous = deployment.record.previous
        if not _is_whole(deployment.path_of(previous), previous):
            msg = f"{deployment.path_of(previous)} is damaged, so the rollback was not possible"
            raise BundleError(msg)
        record = deployment.record
        deployment.switch(msgspec.structs.replace(record, current=previous, previous=record.current, probation=None))
        return deployment

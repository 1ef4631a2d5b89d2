"""Read the files of a bundle that is a folder or a zip file, and check them before they are used.

A bundle is untrusted until it is checked: names, sizes and hashes of all files are compared with the manifest before
any byte of the files reaches a decoder or an engine.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from orilla.devices.errors import BundleError
from orilla.devices.gate import check_zip, only_our_errors
from orilla.runtime.bundle import manifest as manifests
from orilla.runtime.bundle.manifest import FileEntry, Manifest
from orilla.runtime.bundle.signature import MAX_SIGNATURE_BYTES, SIGNATURE

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 1 << 30
MAX_TOTAL_BYTES = 2 << 30
MAX_FILES = 1000
MAX_LIST_BYTES = 1 << 20
"""Maximum size of the list of files in a zip, in bytes: 1000 files with paths of 1000 characters."""

MAX_PATHS = 4 * MAX_FILES
"""Maximum number of files and folders in a bundle that is a folder."""


class _Zip:
    """The entries of a zip file. An entry is unpacked when it is read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def sizes(self) -> list[tuple[str, int]]:
        entries = self._archive.infolist()
        for entry in entries:
            if stat.S_ISLNK(entry.external_attr >> 16):
                msg = f"{entry.filename} is a link"
                raise BundleError(msg)
        return [(entry.filename, entry.file_size) for entry in entries]

    def read(self, name: str, limit: int) -> bytes:
        with self._archive.open(name) as stream:
            return stream.read(limit)


class _Folder:
    """Files below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sizes(self) -> list[tuple[str, int]]:
        files = []
        paths = list(islice(self._folder.rglob("*"), MAX_PATHS + 1))
        if len(paths) > MAX_PATHS:
            msg = f"the bundle has more than {MAX_PATHS} files and folders"
            raise BundleError(msg)
        for path in sorted(paths):
            name = path.relative_to(self._folder).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                raise BundleError(f"{name} is a link" if stat.S_ISLNK(mode) else f"{name} is a device or pipe")
            files.append((name, path.stat().st_size))
        return files

    def read(self, name: str, limit: int) -> bytes:
        with (self._folder / name).open("rb") as stream:
            return stream.read(limit)


@contextmanager
def container_of(path: Path) -> Iterator[_Zip | _Folder]:
    """Open the files of a bundle. Errors while reading are converted into a `BundleError` that names the bundle."""
    _require_bundle(path)
    try:
        if path.is_dir():
            yield _Folder(path)
        else:
            with path.open("rb") as stream:
                check_zip(stream, MAX_LIST_BYTES)
                with zipfile.ZipFile(stream) as archive:
                    yield _Zip(archive)
    except BundleError as error:
        msg = f"{path.name}: {error}"
        raise BundleError(msg) from error
    except Exception as error:
        with only_our_errors(path, BundleError):
            raise error


def _require_bundle(path: Path) -> None:
    """Raise `BundleError` if a path is not a bundle. The message says what is at the path, and what to do."""
    try:
        if path.is_dir():
            suitable = (path / MANIFEST).is_file()
        elif path.is_file():
            suitable = path.suffix == ".orilla" and zipfile.is_zipfile(path)
        else:
            msg = f"{path} is not a bundle: it is neither a file nor a folder"
            raise BundleError(msg)
        if suitable:
            return
        from orilla.runtime.bundle.file_kinds import recognise
        from orilla.runtime.bundle.wrong_file import not_a_bundle

        kind = recognise(path)
        if kind is None or kind.reader != "bundle":
            raise BundleError(not_a_bundle(path))
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise BundleError(msg) from error


class ManifestFile(NamedTuple):
    """A manifest and its content, and the signature of the bundle."""

    manifest: Manifest
    data: bytes
    signature: bytes | None


def read_container(
    path: Path, *, every_file: bool = True, partial: bool = False
) -> tuple[ManifestFile, dict[str, bytes]]:
    """Read the manifest, the signature and the files of a bundle, and check them.

    Args:
        path: The bundle.
        every_file: If False, read no files.
        partial: If True, files may be missing.
    """
    with container_of(path) as container:
        read, sizes = _read_manifest(container, partial=partial)
        names = [name for name in read.manifest.files if name in sizes] if every_file else []
        return read, {name: read_entry(container, name, read.manifest) for name in names}


def _read_manifest(container: _Zip | _Folder, *, partial: bool) -> tuple[ManifestFile, dict[str, int]]:
    """Read the manifest and the signature, and compare the manifest with the files.

    Return both, and the sizes of the other files.
    """
    files = container.sizes()
    _check_paths([name for name, _ in files])
    sizes = dict(files)
    if MANIFEST not in sizes:
        msg = f"not a bundle: {MANIFEST} is missing"
        raise BundleError(msg)
    data = container.read(MANIFEST, MAX_MANIFEST_BYTES + 1)
    if len(data) > MAX_MANIFEST_BYTES:
        msg = f"{MANIFEST} has more than {MAX_MANIFEST_BYTES} bytes"
        raise BundleError(msg)
    manifest = manifests.decode(data)
    del sizes[MANIFEST]
    signature = None
    if sizes.pop(SIGNATURE, None) is not None:
        signature = container.read(SIGNATURE, MAX_SIGNATURE_BYTES + 1)
        if len(signature) > MAX_SIGNATURE_BYTES:
            msg = f"{SIGNATURE} has more than {MAX_SIGNATURE_BYTES} bytes"
            raise BundleError(msg)
    _check_paths(list(manifest.files))
    _check_sizes({name: entry for name, entry in manifest.files.items() if not partial or name in sizes}, sizes)
    return ManifestFile(manifest, data, signature), sizes


def read_entry(container: _Zip | _Folder, name: str, manifest: Manifest) -> bytes:
    """Read a file that the manifest lists, up to the size stated there."""
    entry = manifest.files[name]
    data = container.read(name, entry.size + 1)
    if len(data) != entry.size or hashlib.sha256(data).hexdigest() != entry.sha256:
        msg = f"{name} has a wrong hash: the bundle is damaged; get it again"
        raise BundleError(msg)
    return data


def _check_paths(names: list[str]) -> None:
    if len(names) > MAX_FILES:
        msg = f"the bundle has {len(names)} files: at most {MAX_FILES} are allowed"
        raise BundleError(msg)
    seen: set[str] = set()
    for name in names:
        path = PurePosixPath(name)
        outside = path.is_absolute() or ".." in path.parts or path.as_posix() != name
        if outside or any(sign in name for sign in ("\\", ":", "\0")):
            msg = f"the bundle contains {name!r}: a path must stay inside the bundle"
            raise BundleError(msg)
        if name in seen:
            msg = f"the bundle contains {name} twice"
            raise BundleError(msg)
        seen.add(name)


def _check_sizes(listed: dict[str, FileEntry], sizes: dict[str, int]) -> None:
    for name in sorted(listed.keys() ^ sizes.keys()):
        raise BundleError(f"{name} is missing" if name in listed else f"{name} is not in the manifest")
    for name, entry in listed.items():
        if sizes[name] != entry.size:
            msg = f"{name} has {sizes[name]} bytes, but the manifest states {entry.size}"
            raise BundleError(msg)
        if not 0 <= entry.size <= MAX_FILE_BYTES:
            msg = f"{name} has {entry.size} bytes: at most {MAX_FILE_BYTES} are allowed"
            raise BundleError(msg)
    total = sum(sizes.values())
    if total > MAX_TOTAL_BYTES:
        msg = f"the bundle has {total} bytes: at most {MAX_TOTAL_BYTES} are allowed"
        raise BundleError(msg)

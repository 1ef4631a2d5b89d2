"""Read and write bundles, as a folder or a `.orilla` zip file.

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

from orilla.devices.errors import BundleError, unknown_name
from orilla.devices.gate import check_zip, only_our_errors, read_file
from orilla.runtime.bundle import manifest as manifests
from orilla.runtime.bundle.manifest import FileEntry, Manifest
from orilla.runtime.bundle.signature import MAX_SIGNATURE_BYTES, SIGNATURE, WHOLE_FILE, Signed
from orilla.runtime.bundle.trust import Trust
from orilla.runtime.files import checksum, replacing, replacing_folder, write_bytes
from orilla.runtime.preprocessing.input_kind import InputPreprocessor
from orilla.runtime.preprocessing.text import decode_vocabulary

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 1 << 30
MAX_TOTAL_BYTES = 2 << 30
MAX_FILES = 1000
MAX_LIST_BYTES = 1 << 20
"""Maximum size of the list of files in a zip, in bytes: 1000 files with paths of 1000 characters."""

MAX_PATHS = 4 * MAX_FILES
"""Maximum number of files and folders in a bundle that is a folder."""

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Modification time of every zip entry. It is constant, so that equal content gives equal bytes."""

ZOO = Path(__file__).parents[1] / "zoo"


class Bundle:
    """A bundle with a checked manifest. Each file is checked before its content is returned."""

    def __init__(self, path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self.manifest_bytes = b""
        """Content of `manifest.json`."""
        self.signature: bytes | None = None
        """Content of `model.sig`. None if the bundle is not signed."""
        self.signed: Signed | None = None
        """The checked signature. None if the bundle was opened without trusted keys."""
        self.trust: Trust | None = None
        """The trusted keys with which the bundle was opened."""
        self._files = files

    @classmethod
    def open(cls, where: str | Path, *, every_file: bool = True, trust: Trust | None = None) -> Bundle:
        """Read and check a bundle.

        Args:
            where: A folder, a `.orilla` file, or the name of a shipped bundle.
            every_file: If True, read and check all files now. If False, check each file when it is read. A loop needs
                only one variant, so it then starts sooner and needs less memory.
            trust: The trusted keys. If None, signatures are not checked.

        Raises:
            BundleError: The bundle is truncated, its schema is unknown, a file in it has a wrong hash, a wrong size
                or a path outside of the bundle, or the bundle is not trusted.
        """
        path = find(where)
        with _container(path) as container:
            read = _read_manifest(container)
            files = {name: _read_file(container, name, read.manifest) for name in read.manifest.files if every_file}
        bundle = cls(path, read.manifest, files)
        bundle.manifest_bytes, bundle.signature = read.data, read.signature
        if trust is not None:
            bundle._check_trust(trust, Path(where).absolute())
        return bundle

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 (hex) of every file except the signature, by path."""
        listed = {name: entry.sha256 for name, entry in self.manifest.files.items()}
        return {MANIFEST: hashlib.sha256(self.manifest_bytes).hexdigest(), **listed}

    def _check_trust(self, trust: Trust, place: Path) -> None:
        """Raise `BundleError` if no trusted key signed the bundle. The signature may be in a file beside the bundle."""
        document, digests = self.signature, self.digests
        beside = self.path.with_name(f"{self.path.name}.sig")
        try:
            if document is None and self.path.is_file() and beside.is_file():
                document = read_file(beside, MAX_SIGNATURE_BYTES, BundleError)
                digests = {WHOLE_FILE: checksum(self.path)}
            self.signed = trust.check(document, digests, place=place, name=self.manifest.name)
        except BundleError as error:
            msg = f"{self.path.name}: {error}"
            raise BundleError(msg) from error
        self.trust = trust

    def read(self, name: str) -> bytes:
        """Return the content of a file that the manifest lists. Raise `BundleError` if the file is damaged."""
        if name not in self._files:
            with _container(self.path) as container:
                return _read_file(container, name, self.manifest)
        return self._files[name]

    def preprocessor(self) -> InputPreprocessor:
        """Return the preprocessor of the bundle's variants. Raise `BundleError` if the vocabulary is invalid."""
        listed = self.manifest.vocabulary
        return self.manifest.preprocess.preprocessor(decode_vocabulary(self.read(listed)) if listed else ())


def find(where: str | Path) -> Path:
    """Return the path of a bundle. `where` is the name of a shipped bundle or a path. `./road` is always a path.

    Raises:
        BundleError: The path does not exist.
        ConfigError: The name is unknown.
    """
    text = str(where)
    shipped = {bundle.stem: bundle for bundle in ZOO.glob("*.orilla")}
    if text in shipped:
        return shipped[text]
    path = Path(where)
    try:
        if path.exists():
            return path
    except OSError as error:
        msg = f"cannot read {text[:200]}: {error.strerror or error}"
        raise BundleError(msg) from error
    if path.suffix or len(path.parts) > 1:
        from orilla.runtime.bundle.wrong_file import missing

        raise BundleError(missing(path, "bundle"))
    raise unknown_name(text, shipped, kind="bundle")


def write(path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Write a bundle, and replace an existing one. If an error occurs, `path` stays as it is.

    The bytes of the bundle depend only on its content. Call `destination.check_new` first, so that only a bundle is
    replaced.

    Args:
        path: Path of the bundle. A zip file is written if the path ends in `.orilla`, else a folder.
        manifest: The manifest, whose `files` list these files.
        files: Content of each file, by path.
    """
    content = {MANIFEST: manifests.encode(manifest), **{name: files[name] for name in sorted(files)}}
    manifests.decode(content[MANIFEST])  # This prevents writing a bundle that could not be read back.
    if path.suffix == ".orilla" and not path.is_dir():
        with replacing(path) as temporary:
            _write_zip(temporary, content)
        return
    with replacing_folder(path, replace=(path / MANIFEST).is_file()) as folder:
        for name, data in content.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def write_signed(path: Path, bundle: Bundle, signature: bytes) -> None:
    """Write a bundle with a signature. All other files keep their bytes.

    Args:
        path: Path of the bundle. If it is the folder `bundle` itself, only the signature is written.
        bundle: The bundle.
        signature: Content of `model.sig`.
    """
    if path.is_dir():
        write_bytes(path / SIGNATURE, signature)
        return
    content = {MANIFEST: bundle.manifest_bytes, **{name: bundle.read(name) for name in sorted(bundle.manifest.files)}}
    with replacing(path) as temporary:
        _write_zip(temporary, {**content, SIGNATURE: signature})


def entries(files: dict[str, bytes]) -> dict[str, FileEntry]:
    """Return the manifest's entry for each file."""
    return {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())}


def _write_zip(path: Path, content: dict[str, bytes]) -> None:
    # Entries are not compressed. Compression hardly shrinks weights, delays the start of a robot, and makes the bytes
    # depend on zlib's version.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)


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
def _container(path: Path) -> Iterator[_Zip | _Folder]:
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
    """Raise `BundleError` if a path is not a bundle. The message says what the path is, and what to do."""
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


class _ManifestFile(NamedTuple):
    """A manifest and its content, and the signature of the bundle."""

    manifest: Manifest
    data: bytes
    signature: bytes | None


def _read_manifest(container: _Zip | _Folder) -> _ManifestFile:
    """Read the manifest and compare it with the files. Also read the signature, if there is one."""
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
    _check_sizes(manifest.files, sizes)
    return _ManifestFile(manifest, data, signature)


def _read_file(container: _Zip | _Folder, name: str, manifest: Manifest) -> bytes:
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

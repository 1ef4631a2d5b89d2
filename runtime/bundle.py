"""A bundle: one model's variants with all they need to run and to prove themselves, as a folder or a `.orilla` zip.

A bundle is hostile until checked: names, sizes and hashes of all files are compared with the manifest before any
byte of them reaches a decoder or an engine.
"""

from __future__ import annotations

import hashlib
import stat
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from orilla.devices.errors import BundleError, unknown_name
from orilla.runtime import manifest as manifests
from orilla.runtime.files import replacing, replacing_folder
from orilla.runtime.manifest import FileEntry, Manifest

MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILE_BYTES = 1 << 30
MAX_FILES = 1000
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every zip entry, so that equal content makes equal bytes."""

ZOO = Path(__file__).parent / "zoo"


class Bundle:
    """A bundle whose every file has been checked."""

    def __init__(self, path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
        self.path = path
        self.manifest = manifest
        self._files = files

    @classmethod
    def open(cls, where: str | Path) -> Bundle:
        """Reads and checks a bundle.

        Args:
            where: a folder, a `.orilla` file, or the name of a bundle that ships with Orilla.

        Raises:
            BundleError: truncated, a wrong hash or size, an unknown schema, a path that leaves its folder.
        """
        path = find(where)
        files = _read_folder(path) if path.is_dir() else _read_zip(path)
        if MANIFEST not in files:
            raise BundleError(f"not a bundle: {path} has no {MANIFEST}")
        try:
            manifest = manifests.decode(files.pop(MANIFEST))
            _check_files(manifest.files, files)
        except BundleError as error:
            raise BundleError(f"{path.name}: {error}") from error
        return cls(path, manifest, files)

    def read(self, name: str) -> bytes:
        """The content of a file that the manifest lists."""
        return self._files[name]


def find(where: str | Path) -> Path:
    """The path of a bundle named by path or by its name in the zoo; raises `BundleError` or `ConfigError`."""
    path = Path(where)
    if path.exists():
        return path
    text = str(where)
    shipped = {bundle.stem: bundle for bundle in sorted(ZOO.glob("*.orilla"))}
    if text in shipped:
        return shipped[text]
    if path.suffix or len(path.parts) > 1:
        raise BundleError(f"no such bundle: {text}")
    raise unknown_name("bundle", text, shipped)


def write(path: Path, manifest: Manifest, files: dict[str, bytes]) -> None:
    """Writes a bundle, whole or not at all; equal content makes equal bytes.

    Args:
        path: a zip where it ends in `.orilla`, else a folder, which must not exist yet.
        manifest: its `files` are filled in from `files`.
        files: content by path.
    """
    content = {MANIFEST: manifests.encode(manifest), **{name: files[name] for name in sorted(files)}}
    if path.suffix == ".orilla":
        with replacing(path) as temporary:
            _write_zip(temporary, content)
        return
    with replacing_folder(path) as folder:
        for name, data in content.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def entries(files: dict[str, bytes]) -> dict[str, FileEntry]:
    """The manifest's table of `files`."""
    return {name: FileEntry(len(data), hashlib.sha256(data).hexdigest()) for name, data in sorted(files.items())}


def _write_zip(path: Path, content: dict[str, bytes]) -> None:
    # Stored, not deflated: weights hardly shrink, a robot starts sooner, and no zlib version changes the bytes.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
            _check_paths(info.filename for info in infos)
            files = {}
            for info in infos:
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise BundleError(f"{path.name}: {info.filename} is a link")
                _check_size(info.filename, info.file_size)
                with archive.open(info) as stream:
                    # Never trust the declared size alone: one byte more than it says is one too many.
                    data = stream.read(info.file_size + 1)
                files[info.filename] = data
            return files
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} is not a bundle, or damaged: {error}") from error
    except OSError as error:
        raise BundleError(f"cannot read {path}: {error.strerror or error}") from error


def _read_folder(folder: Path) -> dict[str, bytes]:
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"not a bundle: {folder} has no {MANIFEST}")
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BundleError(f"{folder.name}: {name} is a link")
        if path.is_file():
            _check_size(name, path.stat().st_size)
            files[name] = path.read_bytes()
    _check_paths(files)
    return files


def _check_paths(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        path = PurePosixPath(name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in name
            or ":" in name
            or "\0" in name
            or path.as_posix() != name
        ):
            raise BundleError(f"bundle holds {name!r}: a path must stay inside the bundle")
        if name in seen:
            raise BundleError(f"bundle holds {name} twice")
        seen.add(name)
    if len(seen) > MAX_FILES:
        raise BundleError(f"bundle holds {len(seen)} files: {MAX_FILES} at most")


def _check_size(name: str, size: int) -> None:
    limit = MAX_MANIFEST_BYTES if name == MANIFEST else MAX_FILE_BYTES
    if size > limit:
        raise BundleError(f"{name} has {size} bytes: {limit} at most")


def _check_files(listed: dict[str, FileEntry], files: dict[str, bytes]) -> None:
    for name in sorted(listed.keys() ^ files.keys()):
        raise BundleError(f"{name} is missing" if name in listed else f"{name} is not in the manifest")
    for name, entry in listed.items():
        if len(files[name]) != entry.size:
            raise BundleError(f"{name} has {len(files[name])} bytes, the manifest says {entry.size}")
        if hashlib.sha256(files[name]).hexdigest() != entry.sha256:
            raise BundleError(f"{name} has a wrong hash: the bundle is damaged, get it again")

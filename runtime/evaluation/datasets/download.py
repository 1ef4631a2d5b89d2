"""Download published data sets.

An interrupted download is resumed, and each file is compared with its published checksum. A data set can be opened by
name only when all of its files are complete.
"""

from __future__ import annotations

import http.client
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from pathlib import Path

import msgspec

from orilla.devices.errors import DataError, OutputError, unknown_name
from orilla.runtime.files import cache_folder, checksum, make_folder

ATTEMPTS = 5
"""Number of consecutive connections without data after which the download fails."""

BLOCK = 1 << 16
TIMEOUT_S = 30.0

COMPLETE = "complete"
"""Name of an empty file that marks the folder of a completely downloaded data set."""

PART = ".part"

Progress = Callable[[int, int | None], None]
"""Function that reports progress. Its arguments are the number of bytes received so far, and the total number of bytes
or None if that is unknown."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file with a public address."""

    url: str
    name: str = ""
    """Name of the stored file. If it is empty, the name in the address is used."""
    sha256: str = ""
    md5: str = ""
    bytes: int = 0
    """Size in bytes, or 0 if unknown."""
    extract: bool = False
    """True if the file is a tar file that is unpacked and then deleted."""

    @property
    def stored(self) -> str:
        """Return the name of the stored file."""
        return self.name or self.url.rpartition("/")[2]


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data set that can be downloaded without an account."""

    title: str
    licence: str
    files: tuple[File, ...]


@cache
def published() -> dict[str, Published]:
    """Return all data sets of `published.toml`. The keys are the names."""
    from orilla.devices import toml

    rows = toml.loads(files("orilla.runtime.evaluation.datasets").joinpath("published.toml").read_text())
    return {name: msgspec.convert(row, Published) for name, row in rows.items()}


def get(name: str, progress: Callable[[str], Progress], data_sets: dict[str, Published] | None = None) -> Path:
    """Download a data set into the cache unless it is already there. Return its folder.

    Args:
        name: Name of the data set.
        progress: Function that takes the name of a file and returns the function that receives its progress.
        data_sets: The known data sets. If None, `published()` is used.

    Raises:
        ConfigError: The name is unknown.
        DataError: The server rejects the request, the connection fails repeatedly, or a checksum is wrong.
        OutputError: The cache cannot be written.
    """
    data_sets = published() if data_sets is None else data_sets
    if name not in data_sets:
        raise unknown_name(name, data_sets, kind="published data set")
    folder = cache_folder() / name
    if downloaded(name) is not None:
        return folder
    make_folder(folder)
    for file in data_sets[name].files:
        target = folder / file.stored
        if (folder / f"{file.stored}.done").exists():
            continue
        if not target.exists():
            fetch(file, target, progress(file.stored))
        if file.extract:
            _extract(target, folder)
    for note in folder.glob("*.done"):
        note.unlink()
    (folder / COMPLETE).touch()
    return folder


def downloaded(name: str) -> Path | None:
    """Return the file or folder of a downloaded data set, or None if it is absent or incomplete."""
    folder = cache_folder() / name
    if not (folder / COMPLETE).exists():
        return None
    files = [file for file in folder.iterdir() if file.name != COMPLETE]
    return files[0] if len(files) == 1 else folder


def fetch(file: File, target: Path, progress: Progress, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Download one file to `target`.

    If the download is interrupted, a partial file remains next to `target`, and the next call resumes the download.
    """
    part = target.with_name(target.name + PART)
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            with _connection_errors(file):
                _receive(file, part, before, progress)
            break
        except _BrokenConnectionError as error:
            failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
            if failures >= ATTEMPTS:
                msg = f"{file.url}: the connection failed ({error}); run the command again to resume the download"
                raise DataError(msg) from error
            pause(min(8.0, 0.5 * 2**failures))
    _check(file, part)
    part.replace(target)


class _BrokenConnectionError(Exception):
    """Raised if the connection ended too early. A new connection may deliver the rest."""


@contextmanager
def _connection_errors(file: File) -> Iterator[None]:
    """Raise `DataError` for a rejected request, and `_BrokenConnectionError` if another attempt may succeed."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            msg = f"HTTP {error.code}"
            raise _BrokenConnectionError(msg) from error
        msg = f"{file.url}: the server responded {error.code} {error.reason}"
        raise DataError(msg) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _BrokenConnectionError(str(error) or type(error).__name__) from error
    except urllib.error.URLError as error:
        raise _BrokenConnectionError(str(error.reason)) from error


def _receive(file: File, part: Path, start: int, progress: Progress) -> None:
    request = urllib.request.Request(file.url, headers={"User-Agent": "orilla", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        # Either nothing is left to download, or the published file has changed. The checksum shows which.
        if error.code == 416 and start:
            return
        raise
    with response:
        if response.status != 206 or not (response.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            start = 0  # The server ignored the requested range and sends the whole file.
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        _write(response, part, start, total, progress)
    if total is not None and part.stat().st_size < total:
        msg = f"after {part.stat().st_size} of {total} bytes"
        raise _BrokenConnectionError(msg)


def _write(response: http.client.HTTPResponse, part: Path, start: int, total: int | None, progress: Progress) -> None:
    received = start
    with _write_errors(part), part.open("ab" if start else "wb") as stream:
        while True:
            try:
                block = response.read(BLOCK)
            except OSError as error:
                # The connection failed. `_write_errors` must not report this error as a failure of the disk.
                raise _BrokenConnectionError(str(error) or type(error).__name__) from error
            if not block:
                return
            stream.write(block)
            received += len(block)
            progress(received, total)


@contextmanager
def _write_errors(part: Path) -> Iterator[None]:
    """Raise `OutputError` if a file cannot be written."""
    try:
        yield
    except OSError as error:
        msg = f"cannot write {part}: {error.strerror or error}"
        raise OutputError(msg) from error


def _check(file: File, part: Path) -> None:
    for kind, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if not expected:
            continue
        digest = checksum(part, kind)
        if digest != expected:
            part.unlink()
            msg = f"{file.url} has {kind} {digest}, but {expected} is published: the file was discarded"
            raise DataError(msg)
    if file.bytes and part.stat().st_size != file.bytes:
        size = part.stat().st_size
        part.unlink()
        msg = f"{file.url} has {size} bytes, but {file.bytes} are published: the file was discarded"
        raise DataError(msg)


def _extract(archive: Path, folder: Path) -> None:
    """Unpack a tar file into `folder`. Entries with a path outside the folder are rejected."""
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as temporary:
        try:
            with tarfile.open(archive) as content:
                content.extractall(temporary, filter="data")
        except (tarfile.TarError, EOFError, OSError) as error:
            msg = f"cannot unpack {archive.name}: {error}"
            raise DataError(msg) from error
        for child in Path(temporary).iterdir():
            target = folder / child.name
            if target.is_dir():
                shutil.rmtree(target)
            child.rename(target)
    archive.unlink()
    (folder / f"{archive.name}.done").touch()

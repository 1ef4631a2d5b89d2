"""Fetches published data sets: resumed where it broke off, held against a checksum, whole or not there."""

from __future__ import annotations

import hashlib
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
from orilla.runtime.files import cache_folder, make_folder

ATTEMPTS = 5
"""Connections in a row that bring nothing, before it gives up."""

BLOCK = 1 << 16
TIMEOUT_S = 30.0

COMPLETE = "complete"
"""A file in the folder of a data set that is whole."""

PART = ".part"

Progress = Callable[[int, int | None], None]
"""Told the bytes that are there, and of how many, where the server says."""


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file at a public address."""

    url: str
    name: str = ""
    """What it is stored as; the address's own name where empty."""
    sha256: str = ""
    md5: str = ""
    bytes: int = 0
    """Its size; 0 where unknown."""
    extract: bool = False
    """Unpack the tar, and keep what is in it instead."""

    @property
    def stored(self) -> str:
        return self.name or self.url.rpartition("/")[2]


class Published(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data set that anybody can download."""

    title: str
    licence: str
    files: tuple[File, ...]


@cache
def published() -> dict[str, Published]:
    """All of `published.toml`, by name."""
    import tomllib

    rows = tomllib.loads(files("orilla.runtime.evaluation.datasets").joinpath("published.toml").read_text())
    return {name: msgspec.convert(row, Published) for name, row in rows.items()}


def get(name: str, progress: Callable[[str], Progress], known: dict[str, Published] | None = None) -> Path:
    """Downloads a data set into the cache, unless it is there; returns its folder.

    Args:
        progress: given a file's name, returns what is told of its download.
        known: the data sets there are; `published()` where None.

    Raises:
        ConfigError: an unknown name.
        DataError: the server refuses, breaks off for good, or sends another file than is published.
        OutputError: the cache can't be written.
    """
    known = published() if known is None else known
    if name not in known:
        msg = "published data set"
        raise unknown_name(msg, name, known)
    folder = cache_folder() / name
    if (folder / COMPLETE).exists():
        return folder
    make_folder(folder)
    for file in known[name].files:
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


def fetch(file: File, target: Path, progress: Progress, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Downloads one file to `target`; what came of it stays beside it, for the next try, until it is whole."""
    part = target.with_name(target.name + PART)
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            with _errors_named(file):
                _receive(file, part, before, progress)
            break
        except _BrokenOff as error:
            failures = 0 if part.exists() and part.stat().st_size > before else failures + 1
            if failures >= ATTEMPTS:
                msg = f"{file.url} broke off ({error}): run it again to go on from there"
                raise DataError(msg) from error
            pause(min(8.0, 0.5 * 2**failures))
    _check(file, part)
    part.replace(target)


class _BrokenOff(Exception):  # noqa: N818
    """The connection ended early; another may bring the rest."""


@contextmanager
def _errors_named(file: File) -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code == 429:
            msg = f"HTTP {error.code}"
            raise _BrokenOff(msg) from error
        msg = f"{file.url}: the server answers {error.code} {error.reason}"
        raise DataError(msg) from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _BrokenOff(str(error) or type(error).__name__) from error
    except urllib.error.URLError as error:
        raise _BrokenOff(str(error.reason)) from error


def _receive(file: File, part: Path, start: int, progress: Progress) -> None:
    request = urllib.request.Request(file.url, headers={"User-Agent": "orilla", "Accept-Encoding": "identity"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left, or the file has become another: the checksum will say
            return
        raise
    with answer:
        if answer.status != 206 or not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            start = 0  # the server sends all of it again
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length else None
        _write(answer, part, start, total, progress)
    if total is not None and part.stat().st_size < total:
        msg = f"after {part.stat().st_size} of {total} bytes"
        raise _BrokenOff(msg)


def _write(answer: http.client.HTTPResponse, part: Path, start: int, total: int | None, progress: Progress) -> None:
    there = start
    with _writing(part), part.open("ab" if start else "wb") as stream:
        while True:
            try:
                block = answer.read(BLOCK)
            except OSError as error:  # a connection's, TLS included, is no fault of the disk
                raise _BrokenOff(str(error) or type(error).__name__) from error
            if not block:
                return
            stream.write(block)
            there += len(block)
            progress(there, total)


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"cannot write {part}: {error.strerror or error}"
        raise OutputError(msg) from error


def _check(file: File, part: Path) -> None:
    for kind, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if not expected:
            continue
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, kind).hexdigest()
        if found != expected:
            part.unlink()
            msg = f"{file.url} has {kind} {found}, published is {expected}: it was not kept"
            raise DataError(msg)
    if file.bytes and part.stat().st_size != file.bytes:
        size = part.stat().st_size
        part.unlink()
        msg = f"{file.url} has {size} bytes, published is {file.bytes}: it was not kept"
        raise DataError(msg)


def _extract(archive: Path, folder: Path) -> None:
    """Unpacks a tar beside itself; no entry may leave the folder."""
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

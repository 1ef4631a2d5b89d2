"""Write files so that no partial file remains after an error. A file has a temporary name until it is complete."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orilla.devices.errors import ConfigError, OutputError


def cache_folder() -> Path:
    """Return the folder for downloads and for the choices of `orilla tune`.

    It is `$ORILLA_CACHE` if this variable is set, else `$XDG_CACHE_HOME/orilla` if that is set, else `~/.cache/orilla`.

    Raises:
        ConfigError: The user has no home folder.
    """
    if chosen := os.environ.get("ORILLA_CACHE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "orilla"
    return _home("ORILLA_CACHE") / ".cache" / "orilla"


def state_folder() -> Path:
    """Return the folder for data that must not be lost, such as the counters of trusted bundles.

    It is `$ORILLA_STATE` if this variable is set, else `$XDG_STATE_HOME/orilla` if that is set, else
    `~/.local/state/orilla`.

    Raises:
        ConfigError: The user has no home folder.
    """
    if chosen := os.environ.get("ORILLA_STATE"):
        return Path(chosen)
    if chosen := os.environ.get("XDG_STATE_HOME"):
        return Path(chosen) / "orilla"
    return _home("ORILLA_STATE") / ".local" / "state" / "orilla"


def _home(variable: str) -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        msg = f"this user has no home folder: set {variable} to a folder"
        raise ConfigError(msg) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, with the same suffix.

    If the block ends without an error, the temporary file is renamed to `path`. If `path` is a link, its target is
    replaced.

    Raises:
        OutputError: The folder is missing or read-only, the disk is full, or `path` is not a regular file.
    """
    path = _replaceable(path)
    temporary = _beside(path, path.suffix)
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a temporary folder next to `path`. If the block ends without an error, it is renamed to `path`.

    Args:
        path: The folder to write.
        replace: If True, an existing folder is removed after the new one has taken its place.

    Raises:
        OutputError: `path` exists and `replace` is False, or the folder cannot be written.
    """
    temporary = _beside(path, "")
    try:
        temporary.mkdir()
        yield temporary
        if replace:
            old = path.rename(_beside(path, ""))
            temporary.rename(path)
            shutil.rmtree(old, ignore_errors=True)
        else:
            temporary.rename(path)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(path: Path) -> None:
    """Create a folder and its parents if they are missing. Raise `OutputError` if this fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _output_error(path, error) from error
    _beside(path / "probe", "")


def check_writable(path: Path) -> None:
    """Raise `OutputError` if `path` cannot be written. Call this function before a long computation."""
    _beside(_replaceable(path), path.suffix)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`. If this fails, raise `OutputError` and leave no partial file."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_durably(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that it is either unchanged or complete after a power failure.

    The new content is flushed to the disk before it takes the name of the file. Then the folder is flushed, so that the
    change itself survives.

    Raises:
        OutputError: The file cannot be written.
    """
    temporary = _beside(path, path.suffix)
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Flush the names of the files in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Incomplete(Exception):  # noqa: N818 - it is not an error
    """Raised in a block of `replacing` to discard the incomplete file."""


def checksum(path: Path, kind: str = "sha256") -> str:
    """Return a checksum of a file as hexadecimal digits. `hashlib.file_digest` needs Python 3.11."""
    digest = hashlib.new(kind)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def close_files(files: ExitStack, *, complete: bool) -> None:
    """Close a stack of `replacing` contexts. Keep the files if `complete` is True, else discard them."""
    if complete:
        files.close()
        return
    error = Incomplete()
    try:
        files.__exit__(Incomplete, error, None)
    except Incomplete:
        return


def _replaceable(path: Path) -> Path:
    try:
        target = path.resolve()
        exists, regular = target.exists(), target.is_file()
    except OSError as error:
        raise _output_error(path, error) from error
    if exists and not regular:
        msg = f"cannot write {path}: it is a {'folder' if target.is_dir() else 'device or pipe'}"
        raise OutputError(msg)
    return target


def _beside(path: Path, suffix: str) -> Path:
    if not path.parent.is_dir():
        msg = f"cannot write {path}: the folder {path.parent} does not exist"
        raise OutputError(msg)
    import tempfile  # Import the module only here, because the import takes a millisecond and most loops write no file.

    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=suffix, dir=path.parent)
    except OSError as error:
        raise _output_error(path, error) from error
    os.close(handle)
    temporary = Path(name)
    temporary.unlink()
    return temporary


def _output_error(path: Path, error: OSError) -> OSError:
    """Return an `OutputError` with the reason, or `error` unchanged if it is already one of Orilla's errors."""
    if isinstance(error, OutputError) or type(error).__module__.startswith("orilla"):
        return error
    return OutputError(f"cannot write {path}: {error.strerror or error}")

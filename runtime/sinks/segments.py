"""Manage the files of a sink: choose their names, start new files, and delete old ones."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from orilla.devices.errors import ConfigError, OutputError
from orilla.runtime.files import make_folder
from orilla.runtime.sinks.options import ByteCount, Duration

DIGITS = {"Y": 4, "m": 2, "d": 2, "H": 2, "M": 2, "S": 2, "j": 3, "y": 2, "f": 6, "s": 10, "U": 2, "W": 2}
"""Number of digits of each `strftime` directive that a file name may contain."""

TRIES = 100
"""Maximum number of file names to try, because other programs may create files at the same time."""


class FileOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of every sink that writes files."""

    append: bool = False
    """True to continue an existing file."""
    overwrite: bool = False
    """True to replace an existing file."""
    every: Duration | None = None
    """Time in seconds after which a new file is started."""
    size: ByteCount | None = None
    """Number of bytes after which a new file is started."""
    max: ByteCount | None = None
    """Maximum total number of bytes of all files. If there are more, the oldest files are deleted."""

    def __post_init__(self) -> None:
        if self.append and self.overwrite:
            msg = "append and overwrite cannot be used together"
            raise ValueError(msg)
        if self.max is not None and self.every is None and self.size is None:
            msg = "max requires every or size, because only whole files are deleted"
            raise ValueError(msg)


class Segments:
    """Opens the files of a sink one after another.

    The target is the name of a file. It may contain directives of `strftime`, as in `%Y-%m-%d/%H%M%S.mp4`, which are
    replaced with the local time at which the file is started. If a file with that name already exists, a number is
    added to the name. Without directives, however, the first file of a loop must be new, unless `append` or `overwrite`
    is set.

    Args:
        target: Name of the files.
        options: Options of the sink.
        wall_s: Function that returns the time in seconds since 1970, for the names of the files.
        clock_s: Monotonic clock in seconds, for `every`.
        companion: Suffix of a second file that the sink writes beside each file, such as `.jsonl`. Both files have the
            same number and are deleted together. None if there is no second file.
        numbered: True to also number the first file if its name exists, instead of raising an error.

    Raises:
        ConfigError: The name contains an unknown directive.
    """

    def __init__(  # noqa: PLR0913 - keyword-only options
        self,
        target: str,
        options: FileOptions,
        wall_s: Callable[[], float] = time.time,
        *,
        clock_s: Callable[[], float] = time.monotonic,
        companion: str | None = None,
        numbered: bool = False,
    ) -> None:
        self._target, self._options = target, options
        self._wall_s, self._clock_s = wall_s, clock_s
        self._companion, self._numbered = companion, numbered
        self._pattern = _pattern(target)
        self._dated = "%" in target.replace("%%", "")
        self._rotates = options.every is not None or options.size is not None
        self._opened = 0
        self._began_s = 0.0
        self._own: dict[Path, int] = {}
        """Numbers of the files of this loop, if `max` is set, in the order in which they were started. The files' time
        stamps may not follow this order, because the machine's clock may have been set meanwhile."""

    def next(self) -> tuple[Path, BinaryIO]:
        """Create the next file, delete old ones, and return the path and the open file.

        Raises:
            OutputError: The file already exists, or cannot be created. The message says what to do.
        """
        self._began_s = self._clock_s()
        path = Path(datetime.fromtimestamp(self._wall_s()).astimezone().strftime(self._target))
        try:
            if self._dated:
                path.parent.mkdir(parents=True, exist_ok=True)
            opened = self._create(path)
            self._opened += 1
            if self._options.max is not None:
                self._own[opened[0]] = self._opened
            self._delete_old(opened[0])
        except OutputError:
            raise
        except OSError as error:
            msg = f"cannot write {path}: {error.strerror or error}"
            raise OutputError(msg) from error
        return opened

    def check(self) -> None:
        """Create the folders whose names contain no directive, and check that files can be created there.

        Raises:
            OutputError: The folder cannot be created or written.
        """
        folder = Path(*self._fixed_parents())
        make_folder(folder)
        if Path(self._target).is_dir():
            msg = f"cannot write {self._target}: it is a folder"
            raise OutputError(msg)

    def is_full(self, size: int) -> bool:
        """Return True if the next file must be started. `size` is the number of bytes in the current file."""
        options = self._options
        if options.size is not None and size >= options.size:
            return True
        return options.every is not None and self._clock_s() - self._began_s >= options.every

    def existing(self) -> list[Path]:
        """Return the files whose names fit the target: the files of earlier loops, then the files of this loop.

        Each part starts with the oldest.
        """
        parents, fixed = Path(self._target).parts[:-1], self._fixed_parents()
        base = Path(*fixed)
        others = base.rglob("*") if len(parents) > len(fixed) else base.glob("*")
        files = [path for path in others if self._pattern.fullmatch(str(path)) and path.is_file()]
        return sorted(files, key=lambda path: (self._own.get(path, 0), path.stat().st_mtime_ns))

    def left(self) -> Path | None:
        """Return the newest file of an earlier loop, which a killed process may have left unfinished.

        The result is None if there is no such file, or if another program is writing it. It is also None if this loop
        does not continue the files of earlier loops, because the file may then be unrelated.
        """
        continues = self._dated or self._rotates or self._options.append
        if not continues or self._options.overwrite or descriptor_of(Path(self._target)) is not None:
            return None
        newest = next(reversed(self.existing()), None)
        return None if newest is None or _is_locked(newest) else newest

    def _create(self, path: Path) -> tuple[Path, BinaryIO]:
        number = descriptor_of(path)
        if number is not None:
            return path, os.fdopen(os.dup(number), "wb", buffering=0)
        if path.is_symlink():
            path = path.resolve()
        exists = path.exists()
        if exists and not path.is_file():
            return path, _open_special(path)
        if exists and not self._opened and (self._options.append or self._options.overwrite):
            return path, _open_locked(path, "r+b", empty=self._options.overwrite)
        may_number = self._dated or self._numbered or (self._rotates and self._opened > 0)
        first = self._first_free(path) if may_number else 0
        for number in range(first, first + (TRIES if may_number else 1)):
            numbered = path.with_name(f"{path.stem}-{number}{path.suffix}") if number else path
            try:
                return numbered, _open_locked(numbered, "xb")
            except FileExistsError:
                continue
        dated = f"{path.stem}-%Y%m%d-%H%M%S{path.suffix}"
        msg = f"{path} already exists: add ?append or ?overwrite to the sink, or a date to the name, as in {dated}"
        raise OutputError(msg)

    def companion(self, path: Path) -> Path | None:
        """Return the path of the second file that belongs to a file, or None if the sink writes no second files."""
        return None if self._companion is None else path.with_suffix(self._companion)

    def _first_free(self, path: Path) -> int:
        """Return the number of the next file: the largest number plus 1, or 0 if no file has this name yet."""
        numbers = [_first_free(path)]
        if (beside := self.companion(path)) is not None:
            numbers.append(_first_free(beside))
        return max(numbers)

    def _delete_old(self, current: Path) -> None:
        """Delete the oldest files, including those of earlier loops, until their total size is at most `max`."""
        limit = self._options.max
        if limit is None:
            return
        sizes = {path: path.stat().st_size + self._companion_size(path) for path in self.existing()}
        total = sum(sizes.values())
        for path, size in sizes.items():
            if total <= limit:
                return
            if path != current:
                path.unlink(missing_ok=True)
                self._own.pop(path, None)
                if (beside := self.companion(path)) is not None:
                    beside.unlink(missing_ok=True)
                total -= size

    def _companion_size(self, path: Path) -> int:
        beside = self.companion(path)
        return beside.stat().st_size if beside is not None and beside.exists() else 0

    def _fixed_parents(self) -> list[str]:
        """Return the folders of the target up to the first one that contains a directive."""
        parents = list(Path(self._target).parts[:-1])
        dated = next((place for place, part in enumerate(parents) if "%" in part), len(parents))
        return parents[:dated] or ["."]


def _pattern(target: str) -> re.Pattern[str]:
    """Return the pattern of the file names that a target can produce."""
    parts = []
    for part in re.split(r"(%.)", str(Path(target))):
        if part == "%%":
            parts.append("%")
        elif part.startswith("%"):
            if part[1:] not in DIGITS:
                msg = f"the name {target} contains {part}: use {', '.join(f'%{name}' for name in DIGITS)}, or %% for %"
                raise ConfigError(msg)
            parts.append(rf"\d{{{DIGITS[part[1:]]}}}")
        else:
            parts.append(re.escape(part))
    text, dot, suffix = "".join(parts).rpartition(r"\.")
    return re.compile(rf"{text}(-\d+)?{dot}{suffix}" if dot else rf"{suffix}(-\d+)?")


def _first_free(path: Path) -> int:
    """Return the number of the next file: the largest number plus 1, or 0 if no file has this name yet.

    The numbers of deleted files are not used again, so that later files have larger numbers.
    """
    pattern = re.compile(rf"{re.escape(path.stem)}-(\d+){re.escape(path.suffix)}")
    matches = (pattern.fullmatch(other.name) for other in path.parent.iterdir())
    numbers = [int(found[1]) for found in matches if found]
    if path.exists():
        numbers.append(0)
    return max(numbers, default=-1) + 1


def _open_locked(path: Path, mode: str, *, empty: bool = False) -> BinaryIO:
    """Open and lock a file, so that no other process writes it at the same time."""
    file = path.open(mode, buffering=0)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise OSError(error.errno, "another program is writing this file") from error
    except OSError:  # Some network file systems have no locks.
        pass
    if empty:
        file.truncate(0)
    else:
        file.seek(0, os.SEEK_END)
    return file  # type: ignore[return-value]


def descriptor_of(path: Path) -> int | None:
    """Return the number of the open file that a path such as `/dev/stdout` or `/dev/fd/3` names, or None.

    The file behind such a path is not opened again, because it may be a pipe, and because its content belongs to the
    program that opened it.
    """
    names = {"/dev/stdout": 1, "/dev/stderr": 2}
    found = re.fullmatch(r"/(?:dev|proc/self)/fd/(\d{1,6})", str(path))
    return int(found[1]) if found else names.get(str(path))


def _is_locked(path: Path) -> bool:
    """Return True if another program is writing a file."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # Some network file systems have no locks.
            return False
    return False


def _open_special(path: Path) -> BinaryIO:
    """Open a pipe or a device. Raise an error if no program reads the pipe, because opening it would then block."""
    if path.is_dir():
        msg = f"cannot write {path}: it is a folder"
        raise OutputError(msg)
    try:
        number = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if path.is_fifo():
            msg = f"cannot write {path}: no program reads this pipe; start the reader first"
            raise OutputError(msg) from error
        raise
    os.set_blocking(number, True)
    return os.fdopen(number, "wb", buffering=0)

"""The gate for untrusted files: their readers raise only Orilla's own errors.

A file may be damaged or hostile. The functions in this module limit sizes and waiting times before a decoder sees the
content, and convert every error of a decoder into one line.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from orilla.devices.errors import DataError, OrillaError, neighbour

MAX_JSON_BYTES = 256 << 20
"""Maximum size of a JSON file in bytes, such as the annotations of a large data set."""

MAX_REASON = 300
"""Maximum length of the reason in a message, in characters. The error of a decoder may quote the file."""

END_OF_DIRECTORY, DIRECTORY_64, LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
"""Signatures in a zip file. Source: APPNOTE.TXT of PKWARE, sections 4.3.14 to 4.3.16."""

MAX_COMMENT = 0xFFFF
"""Maximum size of the comment at the end of a zip file, in bytes."""


@contextmanager
def only_our_errors(name: object, error: type[OrillaError] = DataError) -> Iterator[None]:
    """Convert every error of a decoder in the block into an error of the type `error`, which names the file.

    Orilla's own errors pass unchanged. Decoders of untrusted files raise more types of errors than their documentation
    states, so all of them are converted.
    """
    try:
        yield
    except OrillaError:
        raise
    except OSError as problem:
        msg = f"cannot read {name}: {problem.strerror or problem}"
        raise error(msg) from problem
    except Exception as problem:
        msg = f"cannot read {name}: {reason_of(problem)}"
        raise error(msg) from problem


def reason_of(error: Exception) -> str:
    """Return the reason for an error on one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    return " ".join(str(error).split())[:MAX_REASON] or type(error).__name__


def read_file(path: Path, limit_bytes: int, error: type[OrillaError] = DataError) -> bytes:
    """Return the content of a regular file.

    A pipe or a device is rejected, because it could block the reader or have no end.

    Raises:
        OrillaError: The file does not exist, is not a regular file, or is too large. The type is `error`.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                msg = f"{path} is a device or pipe, not a file"
                raise error(msg)
            data = stream.read(limit_bytes + 1)
    except OrillaError:
        raise
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        near = neighbour(path) if isinstance(problem, FileNotFoundError) else ""
        msg = f"cannot read {path}: {reason}{near}"
        raise error(msg) from problem
    if len(data) > limit_bytes:
        msg = f"{path} has more than {limit_bytes >> 20} MiB, the limit for a file of this kind"
        raise error(msg)
    return data


def _open_without_waiting(name: str, flags: int) -> int:
    """Open a file without waiting. Otherwise, opening a pipe would wait for its writer."""
    return os.open(name, flags | os.O_NONBLOCK)


def check_zip(stream: BinaryIO, limit_bytes: int) -> None:
    """Check the size of a zip's list of files before a reader builds an object for each of its entries.

    Args:
        stream: The zip. The function changes its position.
        limit_bytes: Maximum size of the list of files. An entry takes 46 bytes and its name.

    Raises:
        ValueError: The list of files is too large.
    """
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - MAX_COMMENT - 22)
    stream.seek(start)
    tail = stream.read()
    at = tail.rfind(END_OF_DIRECTORY)
    if at < 0 or len(tail) < at + 22:
        return
    count, listed = struct.unpack_from("<HL", tail, at + 10)
    if at >= 20 and tail[at - 20 : at - 16] == LOCATOR_64:
        stream.seek(min(int.from_bytes(tail[at - 12 : at - 4], "little"), size))
        record = stream.read(56)
        if record[:4] == DIRECTORY_64 and len(record) == 56:
            count, listed = struct.unpack_from("<QQ", record, 32)
    if listed > limit_bytes:
        msg = f"its list of {count} files has {listed} bytes: at most {limit_bytes} are allowed"
        raise ValueError(msg)

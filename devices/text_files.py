"""Read text files from users: handle byte order marks, line ends and encodings, and reject files that are not text.

Every part of Orilla reads labels, vocabularies, tables and configuration files with the functions of this module.
"""

from __future__ import annotations

import codecs
from pathlib import Path

from orilla.devices.errors import ConfigError, DataError, OrillaError, neighbour

MAX_BYTES = 64 << 20
"""Maximum size of a text file in bytes. Tables of data sets may be larger, and their readers set a higher limit."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # The mark of UTF-32 begins with the mark of UTF-16, so compare it first.
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks, and the encodings that they indicate."""

MARK = "\ufeff"
"""The byte order mark as a character."""

OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive or an Office document: export its content as plain text"),
    (b"\x1f\x8b", "compressed with gzip: decompress it"),
    (b"%PDF-", "a PDF: export its content as plain text"),
    (rb"{\rtf", "rich text (RTF): save it as plain text"),
    (b"\xd0\xcf\x11\xe0", "an old Office document: export its content as plain text"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x80\x04\x95", "a Python pickle, which can run code: store its content as JSON or text"),
    (b"SQLite format 3", "a database"),
)
"""First bytes of formats that users often pass instead of a text file, each with a description and advice."""


def read_text(
    path: Path,
    *,
    encoding: str | None = None,
    limit_bytes: int = MAX_BYTES,
    error: type[OrillaError] = DataError,
    advice: str = "store it as UTF-8",
) -> str:
    """Read a text file of a user. See `decode` for the arguments and errors.

    Raises:
        OrillaError: The file does not exist or cannot be read, is too large, or is not text. The type is `error`.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(limit_bytes + 1)
    except FileNotFoundError as problem:
        msg = f"no such file: {path}{neighbour(path)}"
        raise error(msg) from problem
    except IsADirectoryError as problem:
        msg = f"{path} is a folder, not a text file"
        raise error(msg) from problem
    except (OSError, ValueError) as problem:
        msg = f"cannot read {path}: {getattr(problem, 'strerror', None) or problem}"
        raise error(msg) from problem
    if len(data) > limit_bytes:
        msg = f"{path} has more than {_size(limit_bytes)}, the limit for a text file of this kind"
        raise error(msg)
    return decode(data, str(path), encoding=encoding, error=error, advice=advice)


def decode(
    data: bytes,
    name: str,
    *,
    encoding: str | None = None,
    error: type[OrillaError] = DataError,
    advice: str = "store it as UTF-8",
) -> str:
    """Return the text in the content of a file, without its byte order mark. Line ends stay as they are.

    A byte order mark states the encoding: UTF-8, UTF-16 or UTF-32. Without a mark, the text is UTF-8.

    Args:
        data: Content of the file.
        name: Name of the file, for messages.
        encoding: Encoding that the user states, such as `cp1252`. A byte order mark takes precedence.
        error: Type of the errors.
        advice: Text for messages that says how the user can state a different encoding.

    Raises:
        ConfigError: The encoding is unknown.
        OrillaError: The data is not text, or not in this encoding. The type is `error`. The message states the line
            and the byte.
    """
    if encoding is not None:
        check_encoding(encoding)
    marked = next(((mark, kind) for mark, kind in MARKS if data.startswith(mark)), None)
    if marked is None and (found := next((kind for start, kind in OTHER_FORMATS if data.startswith(start)), None)):
        msg = f"{name} is not a text file, but {found}"
        raise error(msg)
    mark, kind = marked or (b"", encoding or "utf-8")
    try:
        text = data[len(mark) :].decode(kind)
    except UnicodeDecodeError as problem:
        raise error(_not_in(data, len(mark) + problem.start, name, kind, advice)) from problem
    except UnicodeError as problem:  # Some codecs raise `UnicodeError` itself.
        msg = f"{name} is not {_title(kind)}: {problem}"
        raise error(msg) from problem
    if "\0" in text:
        raise error(_with_nul(data, text, name, advice))
    return text.lstrip(MARK)


def json_bytes(data: bytes, name: str, error: type[OrillaError] = DataError) -> bytes:
    """Return the content of a JSON file in UTF-8 without a byte order mark, as JSON decoders need it.

    Raises:
        OrillaError: The byte order mark states an encoding in which the data is invalid. The type is `error`.
    """
    if any(data.startswith(mark) for mark, _ in MARKS):
        return decode(data, name, error=error).encode()
    return data


def check_encoding(encoding: str) -> None:
    """Raise `ConfigError` if the name of an encoding is unknown, or is not an encoding of text."""
    try:
        "".encode(encoding)
    except (LookupError, UnicodeError, ValueError) as error:
        msg = f"unknown `encoding` {encoding!r}: use a name such as cp1252, latin-1, utf-16, gb18030 or shift_jis"
        raise ConfigError(msg) from error


def lines_of(text: str, blanks: str | None = None) -> list[str]:
    r"""Return the lines of a text without line ends and surrounding white space. Empty lines at the end are omitted.

    Lines end with `\n`, `\r\n` or `\r`. `str.splitlines` would also split at characters such as U+2028, which may be
    part of a name. A byte order mark at the start of a line, which remains after joining files, is removed.

    Args:
        text: The text.
        blanks: Characters that are removed at the start and end of a line. If None, all white space is removed.
    """
    lines = [line.lstrip(MARK).strip(blanks) for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _not_in(data: bytes, position: int, name: str, kind: str, advice: str) -> str:
    """Return the error message for a byte that is invalid in an encoding."""
    line = data.count(b"\n", 0, position) + 1
    column = position - (data.rfind(b"\n", 0, position) + 1)
    value = f"0x{data[position]:02X}" if position < len(data) else "the end of the file"
    if b"\0" in data[:200] and kind == "utf-8":
        return f"{name} is not a text file in UTF-8: it contains NUL bytes; {advice}"
    return f"{name} is not {_title(kind)} (line {line}, byte {column + 1} of the line is {value}): {advice}"


def _with_nul(data: bytes, text: str, name: str, advice: str) -> str:
    """Return the error message for a text with a NUL character."""
    even, odd = data[:400:2].count(0), data[1:400:2].count(0)
    half = len(data[:400]) // 4
    if max(even, odd) > half and min(even, odd) <= half // 4:
        kind = "utf-16-le" if odd > even else "utf-16-be"
        return f"{name} seems to be {kind} without a byte order mark: {advice}"
    line = text.count("\n", 0, text.index("\0")) + 1
    return f"{name} is not a text file, or is damaged: line {line} contains a NUL character"


def _title(kind: str) -> str:
    return kind.upper() if kind.lower().startswith("utf") else kind


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count} bytes"

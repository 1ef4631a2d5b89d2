"""The kind of a file or folder, and the table of kinds that a signature or a suffix identifies."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from orilla.devices import toml


class FileKind(msgspec.Struct, frozen=True):
    """Description of what a file or folder is, and of what the user can do with it."""

    what: str
    """The kind as a noun with its article, such as `a TFLite model`, or as an adjective, such as `empty`."""
    advice: str = ""
    """Advice for the user. Empty if a command reads the file, or if there is nothing to do but choose another file."""
    reader: str = ""
    """Command that reads the file: `import` or `export`, or `bundle` for all commands that take a bundle."""
    format: str = ""
    """Name of the importer that reads the file."""
    unusable: bool = False
    """True if the content does not match the name of the file, or is incomplete. No command and no plug-in can read
    it."""
    at: int = 0
    """Position of the signature, in bytes."""
    starts: tuple[str, ...] = ()
    """Signatures. One of them must occur at the position `at`. Each character represents one byte."""
    suffixes: tuple[str, ...] = ()
    """Suffixes, starting with the usual one. If there is no signature, the suffix identifies the kind."""
    contains: str = ""
    """Name of a file that identifies a folder of this kind. Empty if the kind is not a folder."""


@cache
def _document() -> dict[str, Any]:
    return toml.loads(Path(__file__).with_name("file_kinds.toml").read_text("utf-8"))


@cache
def kinds() -> tuple[FileKind, ...]:
    """Return the kinds of files that a signature or a suffix identifies."""
    return tuple(kind_of(**row) for row in _document()["kind"])


@cache
def folders() -> tuple[FileKind, ...]:
    """Return the kinds of folders that a file in the folder identifies."""
    return tuple(kind_of(**row) for row in _document()["folder"])


def kind_of(what: str, advice: str = "", **properties: Any) -> FileKind:
    """Create a kind.

    Args:
        what: The kind as a noun.
        advice: A key of the table of advice, or the advice itself.
        properties: Other fields.
    """
    return msgspec.convert({"what": what, "advice": _document()["advice"].get(advice, advice), **properties}, FileKind)


def cut_off(what: str, detail: str) -> FileKind:
    """Create the kind of a truncated file."""
    return kind_of(f"only the beginning of {what}: {detail}", "again", unusable=True)

"""Error messages for a file or folder that a command cannot use."""

from __future__ import annotations

from pathlib import Path

from orilla.devices.errors import neighbour
from orilla.runtime.bundle.file_kind import FileKind
from orilla.runtime.bundle.file_kinds import recognise

COMMANDS = {
    "import": "orilla import {} --task TASK --out NAME.orilla",
    "export": "orilla export {} --task TASK --out NAME.orilla",
}
"""Command that makes a bundle from a model, by the `reader` of the model's kind."""


def missing(path: Path, noun: str) -> str:
    """Return the error message for a path that does not exist. It suggests a file with a similar name."""
    return f"no such {noun}: {path}{neighbour(path)}"


def not_a_bundle(path: Path) -> str:
    """Return the message for an existing path that is not a bundle."""
    kind = recognise(path)
    if kind is not None and kind.reader in COMMANDS:
        return f"{path.name} is {kind.what}, not a bundle: make a bundle with {make_bundle(path, kind)}"
    return unusable(
        path, kind, "a bundle", "give a .orilla file or a folder that `orilla export` or `orilla import` wrote"
    )


def make_bundle(path: Path, kind: FileKind) -> str:
    """Return the command that makes a bundle from a model.

    If the model's suffix is wrong, the result also asks the user to rename it.
    """
    name = path.name
    if path.is_file() and path.suffix.lower() not in kind.suffixes:
        name = path.with_suffix(kind.suffixes[0]).name
    command = COMMANDS[kind.reader].format(name)
    command = f"`{command.replace(' --task TASK', '') if kind.format == 'run' else command}`"
    return command if name == path.name else f"{command}, after renaming it to {name}"


def unusable(path: Path, kind: FileKind | None, wanted: str, advice: str) -> str:
    """Return the error message for a file that a command does not read.

    Args:
        path: The file or folder.
        kind: Kind of the file. None if it is unknown.
        wanted: What the command needs, as a noun with its article.
        advice: What to do, if there is no advice for the kind.
    """
    if kind is None and path.is_dir():
        return f"{path.name} is a folder, not {wanted}: {advice}"
    if kind is None:
        with path.open("rb") as stream:
            begins = stream.read(8).hex(" ")
        return f"{path.name} is not {wanted}, but a file of an unknown format that begins with {begins}: {advice}"
    if kind.unusable:
        return f"{path.name} is {kind.what}: {kind.advice or advice}"
    return f"{path.name} is {kind.what}, not {wanted}: {kind.advice or advice}"

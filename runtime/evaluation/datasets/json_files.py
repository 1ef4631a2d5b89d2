"""Read the JSON files of data sets, and recognise their form."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.devices.text_files import json_bytes
from orilla.runtime.evaluation.datasets import tree

T = TypeVar("T")

MAX_FILES = 20
"""Maximum number of JSON files in a folder that are opened. Tools that write one file per image write more."""


def decode_json(file: tree.Folder, form: type[T]) -> T:
    """Read a JSON file of this form. Raise `DataError` if it has a different form."""
    name = readable(file.name)
    try:
        return msgspec.json.decode(json_bytes(tree.read(file), name), type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"cannot read {name}: {' '.join(str(error).split())}"
        raise DataError(msg) from error


def has_form(file: tree.Folder, form: type[object]) -> bool:
    """Return True if a file is JSON of this form, and not an empty list or object."""
    try:
        return bool(decode_json(file, form))
    except (DataError, OSError, *tree.UNREADABLE):
        return False


def few_json_files(folder: tree.Folder) -> list[tree.Folder]:
    """Return the JSON files in a folder, or an empty list if there are more than `MAX_FILES`."""
    files = tree.files(folder, (".json",))
    return files if len(files) <= MAX_FILES else []

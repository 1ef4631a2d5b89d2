"""The run folder, where training and export meet: the card, and how the model is fed."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from orilla.devices.errors import DataError
from orilla.runtime.bundle.card import Card
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.text import TextPreprocess

T = TypeVar("T")

CHECKPOINT = "checkpoint.npz"
"""What an interrupted training leaves in its run folder."""

SEARCH = "search"
"""Inside the run folder: KerasTuner's own files, by which an interrupted search goes on."""

VOCABULARY = "vocabulary.txt"
"""Of a text model: one word a line."""


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`run.json`: what export needs beside the model and its card."""

    preprocess: Preprocess | TextPreprocess
    data: str
    """The data set it was trained on, a name or an absolute path; never leaves this machine."""


def encode_json(value: object) -> bytes:
    """JSON for people: two spaces, keys in the order of the type, a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def read_run(folder: Path) -> tuple[Card, Run]:
    """Reads `card.json` and `run.json`; raises `DataError` where one is missing or not what it should be."""
    return _read(folder / "card.json", Card), _read(folder / "run.json", Run)


def _read(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"not a run folder: {path} is missing; orilla train writes it"
        raise DataError(msg) from error
    except msgspec.DecodeError as error:
        msg = f"cannot read {path}: {error}"
        raise DataError(msg) from error

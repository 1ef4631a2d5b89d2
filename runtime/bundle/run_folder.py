"""Read the run folder, in which training leaves the model, its card and its preprocessing for the export."""

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
"""Checkpoint of an interrupted training run."""

SEARCH = "search"
"""Folder with KerasTuner's files, from which a search is resumed."""

VOCABULARY = "vocabulary.txt"
"""Vocabulary of a text model, one word per line."""


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of `run.json`: what the export needs in addition to the model and the card."""

    preprocess: Preprocess | TextPreprocess
    data: str
    """Data set of the training run, as a name or an absolute path. Bundles do not contain it."""


def encode_json(value: object) -> bytes:
    """Encode JSON for people: indented by two spaces, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def read_run(folder: Path) -> tuple[Card, Run]:
    """Read `card.json` and `run.json`. Raises `DataError` if one is missing or invalid."""
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

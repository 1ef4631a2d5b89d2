"""Read a run folder.

Training writes the model, its card and its preprocessing to this folder, and the export reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.gate import MAX_JSON_BYTES, only_our_errors, read_file
from orilla.devices.text_files import json_bytes
from orilla.runtime.bundle.card import Card
from orilla.runtime.preprocessing.image import Preprocess
from orilla.runtime.preprocessing.text import TextPreprocess
from orilla.runtime.tasks.heads.head import HeadSpec

T = TypeVar("T")

CHECKPOINT = "checkpoint.npz"
"""Name of the checkpoint file of an interrupted training run."""

SEARCH = "search"
"""Name of the folder with KerasTuner's files. A search is resumed from them."""

VOCABULARY = "vocabulary.txt"
"""Name of the vocabulary file of a text model, which has one word per line."""


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Content of `run.json`: what the export needs in addition to the model and the card."""

    preprocess: Preprocess | TextPreprocess
    data: str
    """Data set of the training run: a name or an absolute path. It is not copied into bundles."""
    head: HeadSpec | None = None
    """Layout of a detector's outputs. None for other tasks."""


def encode_json(value: object) -> bytes:
    """Encode a value as readable JSON, indented by two spaces and with a final newline."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def read_run(folder: Path) -> tuple[Card, Run]:
    """Read `card.json` and `run.json`. Raise `DataError` if one of these files is missing or invalid."""
    return _read(folder / "card.json", Card), _read(folder / "run.json", Run)


def _read(path: Path, kind: type[T]) -> T:
    if not path.exists():
        msg = f"not a run folder: {path} is missing; run orilla train to create it"
        raise DataError(msg)
    with only_our_errors(path):
        return msgspec.json.decode(json_bytes(read_file(path, MAX_JSON_BYTES), str(path)), type=kind)

"""Data set of donkeycar tubs: recordings of a driven car with steering and throttle from -1 to 1.

Version 2 of the format is a folder with `manifest.json`, `catalog_*.catalog` and `images/`. The fifth line of the
manifest lists the catalogues and the deleted records. Each line of a catalogue is a record. Version 1 has one file
`record_*.json` per record, beside the images. The value `user/angle` is called `steering` here; -1 is left.

Source: donkeycar (github.com/autorope/donkeycar), `parts/tub_v2.py`, `parts/datastore_v2.py` and `parts/datastore.py`.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.devices.text_files import json_bytes
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.measured import Measured, MeasuredFile, by_time, image_at, left_out_note
from orilla.runtime.tasks.decoding import Decoding

MANIFEST, CATALOGUES_LINE = "manifest.json", 5
"""Name of the file of version 2 that lists the catalogues, and the number of the line that contains the list."""

RECORD = re.compile(r"record_(\d{1,9})\.json")
"""Name of a file of version 1, which contains one record."""

T = TypeVar("T")


class _Record(msgspec.Struct):
    image: str = msgspec.field(name="cam/image_array")
    angle: float = msgspec.field(name="user/angle")
    throttle: float = msgspec.field(name="user/throttle")
    index: int | None = msgspec.field(name="_index", default=None)


class _Catalogues(msgspec.Struct):
    paths: list[str]
    deleted_indexes: list[int] = []


class Donkeycar(Measured):
    """One or several tubs.

    Args:
        tubs: Folders of the tubs.
        path: Path that the user gave.
    """

    classes = ("steering", "throttle")
    decoding = Decoding(ranges=((-1.0, 1.0), (-1.0, 1.0)))

    def __init__(self, tubs: list[tree.Folder], path: Path) -> None:
        name = readable(path.resolve().stem)
        self.source = Source(name, f"donkeycar recordings in {name}", "not stated")
        self._tubs = tubs

    @cached_property
    def samples(self) -> dict[str, list[MeasuredFile]]:
        """Return the samples of each split."""
        return self._divided[0]

    def notes(self) -> list[str]:
        """Return a note about omitted images, if there are any."""
        return left_out_note(self._divided[1])

    @cached_property
    def _divided(self) -> tuple[dict[str, list[MeasuredFile]], int]:
        recordings = []
        for tub in self._tubs:
            prefix = f"{readable(tub.name)}/" if len(self._tubs) > 1 else ""
            recordings.append(_version_2(tub, prefix) if (tub / MANIFEST).is_file() else _version_1(tub, prefix))
        divided = by_time(recordings)
        if not divided[0]:
            msg = f"{self.source.name} has no records"
            raise DataError(msg)
        return divided


def _version_2(tub: tree.Folder, prefix: str) -> list[MeasuredFile]:
    lines = _lines(tub / MANIFEST)
    place = f"{MANIFEST}, line {CATALOGUES_LINE}"
    if len(lines) < CATALOGUES_LINE:
        msg = f"{MANIFEST} has {len(lines)} lines, but the list of catalogues is in line {CATALOGUES_LINE}"
        raise DataError(msg)
    listed = _decode(lines[CATALOGUES_LINE - 1], _Catalogues, place)
    deleted, samples = set(listed.deleted_indexes), []
    position = 0
    for name in listed.paths:
        catalogue = tub / Path(name).name
        if not catalogue.is_file():
            msg = f"{place}: there is no catalogue {readable(name)[:100]!r}"
            raise DataError(msg)
        for number, line in enumerate(_lines(catalogue), start=1):
            if not line.strip():
                continue
            where = f"{readable(catalogue.name)}, line {number}"
            record = _decode(line, _Record, where)
            if (position if record.index is None else record.index) not in deleted:
                samples.append(_sample(tub / "images", record, where, prefix))
            position += 1
    return samples


def _version_1(tub: tree.Folder, prefix: str) -> list[MeasuredFile]:
    numbered = sorted(
        (int(found[1]), file) for file in tree.files(tub, (".json",)) if (found := RECORD.fullmatch(file.name))
    )
    return [_of_file(tub, file, prefix) for _, file in numbered]


def _of_file(tub: tree.Folder, file: tree.Folder, prefix: str) -> MeasuredFile:
    name = readable(file.name)
    return _sample(tub, _decode(json_bytes(tree.read(file), name), _Record, name), name, prefix)


def _sample(folder: tree.Folder, record: _Record, where: str, prefix: str) -> MeasuredFile:
    for name, number in (("user/angle", record.angle), ("user/throttle", record.throttle)):
        if not -1 <= number <= 1:
            msg = f"{where}: {name} is {number:g}, but it must be from -1 to 1"
            raise DataError(msg)
    file = image_at(folder, record.image, where)
    return MeasuredFile(prefix + readable(record.image), file, (record.angle, record.throttle))


def _lines(file: tree.Folder) -> list[bytes]:
    return json_bytes(tree.read(file), file.name).splitlines()


def _decode(data: bytes, kind: type[T], where: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        msg = f"{where}: {error}: correct or remove it"
        raise DataError(msg) from error


def recognise(path: Path) -> bool:
    """Return True for a tub, and for a folder or zip with tubs."""
    return bool(_tubs(path))


def open_dataset(path: Path) -> Donkeycar:
    """Open a tub, or all tubs in a folder or zip."""
    tubs = _tubs(path)
    if not tubs:
        msg = f"not a data set: {path} has no {MANIFEST} with catalogues and no record_*.json"
        raise DataError(msg)
    return Donkeycar(tubs, path)


def _tubs(path: Path) -> list[tree.Folder]:
    """Return the folders that are tubs."""
    return [folder for folder in tree.candidates(path) if _is_tub(folder)]


def _is_tub(folder: tree.Folder) -> bool:
    if (folder / MANIFEST).is_file() and (folder / "images").is_dir():
        return bool(tree.files(folder, (".catalog",)))
    return any(RECORD.fullmatch(file.name) for file in tree.files(folder, (".json",)))

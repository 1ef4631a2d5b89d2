"""Files of a data set, in a folder or a zip alike."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.preprocessing.image_file import decode_picture, why_undecoded

Folder = Path | zipfile.Path

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
"""What `zipfile` raises for archives that are damaged, encrypted or packed by another method."""

FEW = 3
"""Folders in whose insides a data set is looked for."""

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "validation", "valid", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Name of a folder to the split that it holds."""


def root(path: Path) -> Folder | None:
    """The folder, or the inside of the zip, at `path`; None where it is neither."""
    if path.is_dir():
        return path
    return _inside(path, path.stat().st_mtime_ns) if path.is_file() and zipfile.is_zipfile(path) else None


@lru_cache(maxsize=8)
def _inside(path: Path, version: int) -> zipfile.Path:
    try:
        return zipfile.Path(path)
    except UNREADABLE as error:
        msg = f"cannot read {path}: the zip is damaged: {error}"
        raise DataError(msg) from error


def candidates(path: Path) -> list[Folder]:
    """The folder or zip at `path`, and the folders inside it, two deep where they are few: archives often hold one
    folder around everything."""
    top = root(path)
    if top is None:
        return []
    inside = folders(top)
    deeper = [child for parent in inside for child in folders(parent)] if len(inside) <= FEW else []
    return [top, *inside, *deeper]


def folders(parent: Folder) -> list[Folder]:
    """The folders in a folder, by name, but hidden ones and what macOS adds to zips."""
    found = [child for child in parent.iterdir() if child.is_dir()]
    return sorted((child for child in found if not child.name.startswith((".", "__"))), key=lambda child: child.name)


def files(folder: Folder, suffixes: tuple[str, ...]) -> list[Folder]:
    """The files in a folder with one of the suffixes, by name."""
    fitting = (file for file in folder.iterdir() if Path(file.name).suffix.lower() in suffixes)
    return sorted(
        (file for file in fitting if not file.name.startswith(".") and file.is_file()), key=lambda file: file.name
    )


def files_below(folder: Folder, suffixes: tuple[str, ...]) -> list[Folder]:
    """The files in a folder and in those inside it; a link to a folder above is not followed."""
    return [file for inside in _walk(folder) for file in files(inside, suffixes)]


def holds_below(folder: Folder, suffixes: tuple[str, ...]) -> bool:
    """Whether there is a file with one of the suffixes in a folder or in those inside it."""
    return any(files(inside, suffixes) for inside in _walk(folder))


def _walk(folder: Folder, above: tuple[Path, ...] = ()) -> Iterator[Folder]:
    """The folder and all inside it, but links to a folder above."""
    if isinstance(folder, Path):
        real = folder.resolve()
        if real in above:
            return
        above = (*(above or real.parents), real)
    yield folder
    for child in folders(folder):
        yield from _walk(child, above)


def name_of(top: Folder, where: Path) -> str:
    """What to call the data in `top`, which was found at `where`."""
    return readable(top.name or where.resolve().stem)


def below(folder: Folder, file: Folder) -> str:
    """The path of a file from a folder above it."""
    return str(file)[len(str(folder).rstrip("/")) + 1 :]


def split_folders(parent: Folder) -> dict[str, Folder]:
    """The folders named after a split, by the split; raises `DataError` where two name the same."""
    found: dict[str, Folder] = {}
    for child in folders(parent):
        split = SPLITS.get(child.name.lower())
        if split is None:
            continue
        if split in found:
            msg = f"{found[split].name}/ and {child.name}/ are both the {split} split: keep one"
            raise DataError(msg)
        found[split] = child
    return found


def read(path: Folder) -> bytes:
    """The bytes of a file; raises `DataError` where the zip around it is damaged."""
    try:
        return path.read_bytes()
    except UNREADABLE as error:
        msg = f"cannot read {path.name}: the zip is damaged, or of a kind that is not read: {error}"
        raise DataError(msg) from error


def picture(path: Folder, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """Decodes a picture file; raises `DataError` where it is none."""
    data = read(path)
    image = decode_picture(data, flags)
    if image is None:
        msg = f"cannot decode {path}: {why_undecoded(data)}"
        raise DataError(msg)
    return image


SHARES = (("train", 0.8), ("val", 0.9), ("test", 1.0))
"""Splits of a data set that has none of its own, with the upper end of each on the scale of hashes."""


def split_of(content: bytes) -> str:
    """The split that a sample belongs to where the data set states none: by its content, so that equal samples never
    part, and samples added later leave the others where they are. 80 % train, 10 % val, 10 % test."""
    place = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    return next(split for split, end in SHARES if place < end)

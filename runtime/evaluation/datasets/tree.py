"""Access to the files of a data set in a folder or a zip."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orilla.devices import text_files
from orilla.devices.errors import DataError
from orilla.devices.gate import check_zip
from orilla.devices.names import readable
from orilla.runtime.preprocessing.image_file import decode_image
from orilla.runtime.preprocessing.image_format import displayed_size, why_undecoded

Folder = Path | zipfile.Path

UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError)
"""Errors of `zipfile` for archives that are damaged, encrypted or compressed with an unsupported method."""

MAX_LIST_BYTES = 64 << 20
"""Maximum size of the list of files in a zip, in bytes. This is enough for about 500,000 files."""

HEADER_BYTES = 1 << 16
"""Number of bytes at the start of an image file that usually contain its size and orientation."""

ADVICE = "store it as UTF-8"
"""Advice of the messages about text files that are not UTF-8."""

MAX_SEARCHED = 3
"""If the top level has at most this many folders, the folders inside them are searched too."""

MAX_NESTED = 5
"""Maximum depth of the search through nested folders that each contain only one folder."""

SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "validation", "valid", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""Split that each folder name indicates. The names are in lower case."""

WITH_FILLERS = re.compile(
    rf"(?:(?:seg|data|dataset)[_\- ])?({'|'.join(SPLITS)})(?:[_\- ]?(?:set|data|dataset|folder|split))*", re.IGNORECASE
)
"""Pattern of further folder names that indicate a split, such as `training_set` and `seg_train`."""


def root(path: Path) -> Folder | None:
    """Return the folder or the content of the zip at `path`, or None if `path` is neither."""
    if path.is_dir():
        return path
    return _inside(path, path.stat().st_mtime_ns) if path.is_file() and zipfile.is_zipfile(path) else None


@lru_cache(maxsize=8)
def _inside(path: Path, version: int) -> zipfile.Path:
    """Open a zip. `version` changes with the file, so that the cache opens a changed file again."""
    del version
    try:
        with path.open("rb") as stream:
            check_zip(stream, MAX_LIST_BYTES)
        return zipfile.Path(path)
    except (*UNREADABLE, ValueError) as error:
        msg = f"cannot read {path}: the zip is damaged: {error}"
        raise DataError(msg) from error


def candidates(path: Path) -> list[Folder]:
    """Return the folders that may contain a data set: the folder or zip at `path` and the folders inside it.

    The content of an archive is often inside one folder, or inside several nested ones. If there are few folders, the
    folders inside them are included.
    """
    top = root(path)
    if top is None:
        return []
    chain, inside = [top], folders(top)
    while len(inside) == 1 and len(chain) < MAX_NESTED:
        chain.append(inside[0])
        inside = folders(inside[0])
    deeper = [child for parent in inside for child in folders(parent)] if len(inside) <= MAX_SEARCHED else []
    return [*chain, *inside, *deeper]


def required(top: Folder | None, path: Path, lack: str) -> Folder:
    """Return `top` if it is not None.

    Otherwise raise `DataError`. The message contains `lack`, which states what the data at `path` lacks.
    """
    if top is None:
        msg = f"not a data set: {path} {lack}"
        raise DataError(msg)
    return top


def folders(parent: Folder) -> list[Folder]:
    """Return the folders in a folder, sorted by name.

    Hidden folders, and the folders that macOS adds to zips, are omitted.
    """
    children = [child for child in _children(parent) if child.is_dir()]
    return sorted((child for child in children if not child.name.startswith((".", "__"))), key=lambda child: child.name)


def files(folder: Folder, suffixes: tuple[str, ...]) -> list[Folder]:
    """Return the files in a folder that have one of the suffixes, sorted by name."""
    fitting = (file for file in _children(folder) if Path(file.name).suffix.lower() in suffixes)
    return sorted(
        (file for file in fitting if not file.name.startswith(".") and file.is_file()), key=lambda file: file.name
    )


def _children(folder: Folder) -> list[Folder]:
    """Return the files and folders in a folder.

    `zipfile.Path.iterdir` would search the whole list of files for each folder.
    """
    if isinstance(folder, Path):
        return list(folder.iterdir())
    return [folder.joinpath(name) for name in _names_by_folder(folder.root).get(folder.at, ())]


@lru_cache(maxsize=8)
def _names_by_folder(archive: zipfile.ZipFile) -> dict[str, list[str]]:
    """Return the names of the files and folders in each folder of a zip. The keys are the paths of the folders."""
    names: dict[str, list[str]] = {}
    for path in archive.namelist():
        parent, slash, name = path.rstrip("/").rpartition("/")
        names.setdefault(parent + slash, []).append(name + path[len(path.rstrip("/")) :])
    return names


def files_below(folder: Folder, suffixes: tuple[str, ...]) -> list[Folder]:
    """Return the files in a folder and its subfolders. A link to a parent folder is not followed."""
    return [file for inside in _walk(folder) for file in files(inside, suffixes)]


def has_files_below(folder: Folder, suffixes: tuple[str, ...]) -> bool:
    """Return True if a folder or its subfolders contain a file with one of the suffixes."""
    return any(files(inside, suffixes) for inside in _walk(folder))


def _walk(folder: Folder, above: tuple[Path, ...] = ()) -> Iterator[Folder]:
    """Yield the folder and its subfolders, without links to a parent folder."""
    if isinstance(folder, Path):
        real = folder.resolve()
        if real in above:
            return
        above = (*(above or real.parents), real)
    yield folder
    for child in folders(folder):
        yield from _walk(child, above)


def name_of(top: Folder, path: Path) -> str:
    """Return a name for the data set in the folder `top`, which was opened with `path`."""
    return readable(top.name or path.resolve().stem)


def is_below(file: Folder, folder: Folder) -> bool:
    """Return True if a file or folder lies in a folder or in its subfolders."""
    return str(file).startswith(f"{str(folder).rstrip('/')}/")


def below(folder: Folder, file: Folder) -> str:
    """Return the path of a file relative to a folder that contains it."""
    return str(file)[len(str(folder).rstrip("/")) + 1 :]


def split_folders(parent: Folder) -> dict[str, Folder]:
    """Return the folders whose names indicate a split.

    The keys are the splits. Raise `DataError` if two folders have the same split.
    """
    children = folders(parent)
    named = [(split, child) for child in children if (split := SPLITS.get(child.name.lower()))]
    if not named:
        named = [
            (SPLITS[match[1].lower()], child) for child in children if (match := WITH_FILLERS.fullmatch(child.name))
        ]
    by_split: dict[str, Folder] = {}
    for split, child in named:
        if split in by_split:
            msg = f"{by_split[split].name}/ and {child.name}/ are both the {split} split: keep one"
            raise DataError(msg)
        by_split[split] = child
    return by_split


def read(path: Folder) -> bytes:
    """Return the bytes of a file. Raises `DataError` if its zip is damaged."""
    try:
        return path.read_bytes()
    except (OSError, *UNREADABLE) as error:
        if isinstance(path, Path):
            raise
        msg = f"cannot read {path.name}: the zip is damaged, or of an unsupported kind: {error}"
        raise DataError(msg) from error


def decode_text(data: bytes, name: str, encoding: str | None = None, advice: str = ADVICE) -> str:
    """Decode the content of the text file `name`. See `orilla.devices.text_files.decode`.

    Raise `DataError` if it is not text in the expected encoding.
    """
    return text_files.decode(data, name, encoding=encoding, advice=advice)


def decoded(path: Folder, flags: int = cv2.IMREAD_COLOR) -> NDArray[np.uint8]:
    """Decode an image file. Raises `DataError` if it cannot be decoded."""
    data = read(path)
    image = decode_image(data, flags)
    if image is None:
        msg = f"cannot decode {path}: {why_undecoded(data)}"
        raise DataError(msg)
    return image


def size_of_image(path: Folder) -> tuple[int, int] | None:
    """Return the width and height that the header of an image file states, as the image is displayed, or None.

    Only the first bytes are read, unless the header is longer.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(HEADER_BYTES)
            found = displayed_size(data)
            if found is None and len(data) == HEADER_BYTES:
                found = displayed_size(data + stream.read())
    except (OSError, *UNREADABLE):
        return None
    return found


SHARES = (("train", 0.8), ("val", 0.9), ("test", 1.0))
"""Upper bounds of the splits of a data set without split folders. The hash of a sample is a number from 0 to 1. The
sample belongs to the first split whose bound exceeds the hash."""


def split_of(content: bytes) -> str:
    """Return the split of a sample by its content: 80 % train, 10 % val, 10 % test.

    Equal samples get the same split, and added samples do not change the split of others.
    """
    position = int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
    return next(split for split, end in SHARES if position < end)

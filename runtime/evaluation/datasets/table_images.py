"""Find the image files that the rows of a table name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from orilla.devices.errors import DataError
from orilla.devices.names import readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

FOLDERS = ("images", "train", "train_images", "img", "imgs", "test", "val", "valid", "data")
"""Names of folders in which the images of a table may lie."""

MAX_PLACES = 20
"""Maximum number of further folders beside the table that are searched for images."""

DRIVE = re.compile(r"[A-Za-z]:")
"""Pattern of the drive in an absolute Windows path."""


def image_places(folder: tree.Folder, table: str) -> list[tree.Folder]:
    """Return the folders in which the images of a table may lie: its own, and the folders beside it.

    A folder may contain a folder of the same name, as after unpacking an archive into a folder with its name.

    Args:
        folder: Folder of the table.
        table: Name of the table's file.
    """
    stem = Path(table).stem
    named = (stem, f"{stem}_images", *FOLDERS)
    places = [place for name in named if (place := folder / name).is_dir()]
    places += [place for place in tree.folders(folder)[:MAX_PLACES] if place.name not in named]
    inner = [double for place in places if (double := place / place.name).is_dir()]
    return [folder, *places, *inner]


def find_image(places: Sequence[tree.Folder], name: str) -> tree.Folder | None:
    """Return the image file with this name in one of the folders. The name may lack the suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    parts = [part for part in path.parts if part not in ("/", "//", "..") and not DRIVE.fullmatch(part)]
    if not parts or path.name == ".." or "\0" in name:
        return None
    suffixes = ("",) if path.suffix.lower() in IMAGE_SUFFIXES else IMAGE_SUFFIXES
    candidates = (
        place.joinpath(*parts[start:-1], f"{path.name}{suffix}")
        for start in range(len(parts))
        for place in places
        for suffix in suffixes
    )
    return next((file for file in candidates if file.is_file()), None)


def required_image(places: Sequence[tree.Folder], name: str, where: str) -> tree.Folder:
    """Return the image file that a row names. Raise `DataError` if there is none. `where` is the file and line."""
    file = find_image(places, name)
    if file is None:
        searched = ", ".join(f"{readable(place.name)}/" for place in places[:4] if place.name)
        more = ", ..." if len(places) > 4 else ""
        msg = f"{where}: there is no image {readable(name)[:100]!r} in {searched}{more}: correct the name, or remove it"
        raise DataError(msg)
    return file

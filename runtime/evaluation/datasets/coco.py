"""Data set in the format of COCO: a JSON file with images, annotations and categories, next to the images.

Known layouts: `annotations.json` in a folder or zip with the images, `annotations/instances_*.json` with one file per
split, `_annotations.coco.json` in each split folder, or a JSON file beside its images.

Source: the data format at cocodataset.org, "Object Detection". A box is `[x, y, width, height]` in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.devices.names import readable
from orilla.devices.text_files import json_bytes
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split, unique_names

FILES = ("annotations.json", "_annotations.coco.json")
"""Names of annotation files next to images."""

SPLIT = re.compile(r"(?:^|[^a-z])(train(?:ing)?|val(?:id(?:ation)?)?|test)(?:[^a-z]|$)")
"""Pattern that finds a split in a path, such as `instances_val2017.json` or `images/train/a.jpg`."""


class _Image(msgspec.Struct):
    id: int
    file_name: str
    width: int | None = None
    height: int | None = None


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int | None = None
    iscrowd: int | bool = 0


class _Category(msgspec.Struct):
    id: int
    name: str


class _File(msgspec.Struct):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class _Sections(msgspec.Struct):
    """The sections that distinguish the format from other JSON files."""

    images: msgspec.Raw
    annotations: msgspec.Raw
    categories: msgspec.Raw


class Coco(Boxed):
    """Images with boxes in the format of COCO. The classes are the categories in ascending order of their ids."""

    def __init__(self, files: Sequence[tuple[str, tree.Folder, tree.Folder]], top: tree.Folder, path: Path) -> None:
        """Read the annotation files.

        Args:
            files: For each annotation file, a tuple of its split or an empty string, the file, and the folder of its
                images.
            top: Folder of the data set.
            path: Path that the user gave for the data set.
        """
        name = tree.name_of(top, path)
        self.source = Source(name, f"images and boxes in {name}", "not stated")
        self._files = [(split, file, images, _read(file)) for split, file, images in files]
        first = self._files[0]
        self._categories = _categories(first[3], first[1].name)
        for _, file, _, content in self._files[1:]:
            if _categories(content, file.name) != self._categories:
                msg = f"{file.name} and {first[1].name} have different categories: use the same in all splits"
                raise DataError(msg)
        self.classes = tuple(self._categories.values())

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        samples: list[AnnotatedImage] = []
        splits: list[str | None] = []
        for split, file, folder, content in self._files:
            for image, rows in self._rows(content, file.name):
                with only_our_errors(file):
                    found = _image_file(folder, image.file_name, split)
                if found is None:
                    msg = f"{file.name} lists the image {readable(image.file_name)}, which does not exist"
                    raise DataError(msg)
                size = (image.height, image.width) if image.height and image.width else None
                samples.append(AnnotatedImage(readable(image.file_name), found, file.name, rows, size))
                splits.append(split or split_in(str(PurePosixPath(image.file_name).parent)))
        return by_split(samples, splits)

    def _rows(self, content: _File, name: str) -> Iterator[tuple[_Image, list[Row]]]:
        """Yield each image with its boxes. Raises `DataError` if an id is unknown or not unique."""
        _check_unique([image.id for image in content.images], "images", name)
        _check_unique([row.id for row in content.annotations if row.id is not None], "annotations", name)
        indices = {number: index for index, number in enumerate(self._categories)}
        rows: dict[int, list[Row]] = {image.id: [] for image in content.images}
        for place, annotation in enumerate(content.annotations):
            origin = f"annotation {place if annotation.id is None else annotation.id}"
            if annotation.category_id not in indices:
                msg = f"{name}, {origin}: no category has the id {annotation.category_id}: add it, or correct the id"
                raise DataError(msg)
            if annotation.image_id not in rows:
                msg = f"{name}, {origin}: no image has the id {annotation.image_id}: add it, or remove the annotation"
                raise DataError(msg)
            left, top, width, height = annotation.bbox
            box = (left, top, left + width, top + height)
            rows[annotation.image_id].append(
                Row(origin, indices[annotation.category_id], box, bool(annotation.iscrowd))
            )
        for image in content.images:
            yield image, rows[image.id]


def split_in(text: str) -> str | None:
    """Return the split that a path states, or None."""
    found = SPLIT.search(text.lower())
    return tree.SPLITS[found[1]] if found else None


def _read(file: tree.Folder) -> _File:
    """Read an annotation file. Raises `DataError` if it has another format."""
    try:
        return msgspec.json.decode(json_bytes(tree.read(file), file.name), type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        msg = f"cannot read {file.name}: {' '.join(str(error).split())}"
        raise DataError(msg) from error


def _categories(content: _File, name: str) -> dict[int, str]:
    """Return the name of each category by its id, in ascending order."""
    _check_unique([category.id for category in content.categories], "categories", name)
    ordered = sorted(content.categories, key=lambda category: category.id)
    return dict(zip([c.id for c in ordered], unique_names([c.name.strip() for c in ordered], name), strict=True))


def _check_unique(numbers: Sequence[int], kind: str, name: str) -> None:
    seen: set[int] = set()
    for number in numbers:
        if number in seen:
            msg = f"{name} has two {kind} with the id {number}: remove one, or renumber it"
            raise DataError(msg)
        seen.add(number)


def _image_file(folder: tree.Folder, name: str, split: str) -> tree.Folder | None:
    """Return the file of an image, or None if it does not exist. The file may be in a subfolder with a usual name."""
    path = PurePosixPath(name.replace("\\", "/"))
    if "\0" in name or not path.name:
        return None
    relative = path.name if path.is_absolute() or ".." in path.parts else str(path)
    years = [child.name for child in _split_folders(folder, split)]
    places = [relative, f"images/{relative}", *(f"{year}/{relative}" for year in years)]
    return next((file for file in (folder / place for place in places) if file.is_file()), None)


def _split_folders(folder: tree.Folder, split: str) -> list[tree.Folder]:
    """Return the subfolders whose names contain the name of the split, such as `val2017`."""
    return [child for child in tree.folders(folder) if split_in(child.name) == split] if split else []


def recognise(path: Path) -> bool:
    """Return True for a JSON file with the sections of COCO, or for a folder or zip with such files."""
    return _found(path) is not None


def open_dataset(path: Path) -> Coco:
    """Open a JSON file, or a folder or zip with JSON files and images."""
    found = _found(path)
    if found is None:
        msg = f"not a data set: {path} has no annotations.json with images, annotations and categories"
        raise DataError(msg)
    top, files = found
    return Coco(files, top, path)


def _found(path: Path) -> tuple[tree.Folder, list[tuple[str, tree.Folder, tree.Folder]]] | None:
    """Return the folder of the data set, and the split, file and image folder of each annotation file."""
    if path.is_file() and path.suffix.lower() == ".json":
        return (path, [("", path, path.parent)]) if _has_sections(path) else None
    for top in tree.candidates(path):
        direct = [("", file, top) for name in FILES if (file := top / name).is_file()]
        files = direct or _per_split(top)
        if files:
            return top, files
    return None


def _per_split(top: tree.Folder) -> list[tuple[str, tree.Folder, tree.Folder]]:
    """Return the annotation files of a folder that has one file per split."""
    inside = [
        (split, file, folder)
        for split, folder in tree.split_folders(top).items()
        for name in FILES
        if (file := folder / name).is_file()
    ]
    annotations = top / "annotations"
    if inside or not annotations.is_dir():
        return inside
    files = [file for file in tree.files(annotations, (".json",)) if file.name.startswith("instances_")]
    return [(split, file, top) for file in files if (split := split_in(file.name))]


def _has_sections(file: tree.Folder) -> bool:
    try:
        msgspec.json.decode(json_bytes(tree.read(file), file.name), type=_Sections)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, DataError):
        return False
    return True

"""Data set in COCO's format: a JSON file with images, annotations and categories, next to the images.

Known layouts: one JSON file in a folder or zip with the images, such as `annotations.json`, Label Studio's
`result.json` or FiftyOne's `labels.json`; one per split there or in `annotations/`, such as `instances_val2017.json`;
and `_annotations.coco.json` in each split folder. The images are beside the file, or in `images/`, `data/` or a folder
of their split.

Source: the data format at cocodataset.org, "Object Detection". A box is `[x, y, width, height]` in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.gate import only_our_errors
from orilla.devices.names import readable
from orilla.runtime.bundle.card import Source
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.boxed import AnnotatedImage, Boxed, Row, by_split, require_images, unique_names
from orilla.runtime.evaluation.datasets.json_files import decode_json, few_json_files, has_form

FILES = ("annotations.json", "_annotations.coco.json")
"""Names of annotation files next to images."""

FOLDERS = ("images", "data")
"""Names of folders in which the images may be."""

SUBSET = "default"
"""Name that CVAT gives to images without a split."""

ANNOTATIONS = "annotations"
"""Name of a folder beside the images that contains the annotation files."""

SPLIT = re.compile(r"(?:^|[^a-z])(train(?:ing)?|val(?:id(?:ation)?)?|test)(?:[^a-z]|$)")
"""Pattern that finds a split in a path, such as `instances_val2017.json` or `images/train/a.jpg`."""


class _Image(msgspec.Struct):
    id: int | str
    file_name: str
    width: float | None = None
    height: float | None = None


class _Annotation(msgspec.Struct):
    image_id: int | str
    category_id: int
    bbox: list[float] | None = None
    id: int | str | None = None
    iscrowd: int | bool | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _Category(msgspec.Struct):
    id: int
    name: str
    supercategory: str | None = None


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
    """Images with boxes in COCO's format. The classes are the categories in ascending order of their ids."""

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
        self._files = [(split, file, images, decode_json(file, _File)) for split, file, images in files]
        first = self._files[0]
        used = {annotation.category_id for _, _, _, content in self._files for annotation in content.annotations}
        self._categories = _categories(first[3], used, first[1].name)
        for _, file, _, content in self._files[1:]:
            if _categories(content, used, file.name) != self._categories:
                msg = f"{file.name} and {first[1].name} have different categories: use the same in all splits"
                raise DataError(msg)
        self.classes = tuple(self._categories.values())

    @cached_property
    def samples(self) -> dict[str, list[AnnotatedImage]]:
        """Return the samples of each split."""
        samples: list[AnnotatedImage] = []
        splits: list[str | None] = []
        missing: list[str] = []
        for split, file, folder, content in self._files:
            places = _places(folder, split)
            for image, rows in self._rows(content, file.name):
                with only_our_errors(file):
                    found = _image_file(places, image.file_name)
                if found is None:
                    missing.append(readable(image.file_name))
                    continue
                size = (int(image.height), int(image.width)) if image.height and image.width else None
                samples.append(AnnotatedImage(readable(image.file_name), found, file.name, rows, size))
                splits.append(split or split_in(str(PurePosixPath(image.file_name).parent)))
        require_images(missing, len(missing) + len(samples), self._files[0][1].name)
        self.missing = missing
        return by_split(samples, splits)

    def _rows(self, content: _File, name: str) -> Iterator[tuple[_Image, list[Row]]]:
        """Yield each image with its boxes. Raises `DataError` if an id is unknown or not unique."""
        _check_unique([image.id for image in content.images], "images", name)
        _check_unique([row.id for row in content.annotations if row.id is not None], "annotations", name)
        indices = {number: index for index, number in enumerate(self._categories)}
        rows: dict[int | str, list[Row]] = {image.id: [] for image in content.images}
        for place, annotation in enumerate(content.annotations):
            origin = f"annotation {place if annotation.id is None else annotation.id}"
            if annotation.category_id not in indices:
                msg = f"{name}, {origin}: no category has the id {annotation.category_id}: add it, or correct the id"
                raise DataError(msg)
            if annotation.image_id not in rows:
                msg = f"{name}, {origin}: no image has the id {annotation.image_id}: add it, or remove the annotation"
                raise DataError(msg)
            left, top, width, height = _box(annotation, f"{name}, {origin}")
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


def _box(annotation: _Annotation, where: str) -> Sequence[float]:
    """Return the left and top edge, the width and the height, as stated or computed from the polygons."""
    if annotation.bbox and len(annotation.bbox) == len(("left", "top", "width", "height")):
        return annotation.bbox
    if not annotation.bbox:
        try:
            polygons = msgspec.json.decode(annotation.segmentation, type=list[list[float]])
        except msgspec.MsgspecError:
            polygons = []
        x, y = ([value for polygon in polygons for value in polygon[axis::2]] for axis in (0, 1))
        if x and y:
            return min(x), min(y), max(x) - min(x), max(y) - min(y)
    stated = "no bbox and no polygons" if not annotation.bbox else f"a bbox of {len(annotation.bbox)} numbers"
    msg = f"{where} has {stated}: give bbox as [left, top, width, height], or remove the annotation"
    raise DataError(msg)


def _categories(content: _File, used: Set[int], name: str) -> dict[int, str]:
    """Return the name of each category by its id, in ascending order.

    Roboflow adds a category that has no boxes and is the supercategory of all others. This category is omitted.
    """
    _check_unique([category.id for category in content.categories], "categories", name)
    ordered = sorted(content.categories, key=lambda category: category.id)
    root, others = ordered[:1], ordered[1:]
    if others and root[0].id not in used and all(other.supercategory == root[0].name for other in others):
        ordered = others
    return dict(zip([c.id for c in ordered], unique_names([c.name.strip() for c in ordered], name), strict=True))


def _check_unique(numbers: Sequence[int | str], kind: str, name: str) -> None:
    seen: set[int | str] = set()
    for number in numbers:
        if number in seen:
            msg = f"{name} has two {kind} with the id {number}: remove one, or renumber it"
            raise DataError(msg)
        seen.add(number)


def _image_file(places: Sequence[tree.Folder], name: str) -> tree.Folder | None:
    """Return the file of an image in one of these folders, or None if it does not exist."""
    path = PurePosixPath(name.replace("\\", "/"))
    if "\0" in name or not path.name:
        return None
    relative = path.name if path.is_absolute() or ".." in path.parts else str(path)
    return next((file for place in places if (file := place / relative).is_file()), None)


def _places(folder: tree.Folder, split: str) -> list[tree.Folder]:
    """Return the folders that may contain the images: with usual names, or with the name of the split or subset."""
    bases = [folder, *(place for name in FOLDERS if (place := folder / name).is_dir())]
    children = [child for base in bases for child in tree.folders(base)]
    own = [child for child in children if child.name == SUBSET or (split and split_in(child.name) == split)]
    return [*bases, *own, *(place for child in own if (place := child / FOLDERS[0]).is_dir())]


def recognise(path: Path) -> bool:
    """Return True for a JSON file with COCO's sections, or for a folder or zip with such files."""
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
        apart = path.parent.name == ANNOTATIONS
        part = (split_in(path.name) or "", path, path.parent.parent) if apart else ("", path, path.parent)
        return (path, [part]) if has_form(path, _Sections) else None
    for top in tree.candidates(path):
        direct = [("", file, top) for name in FILES if (file := top / name).is_file()]
        files = direct or _per_split(top) or _in_folder(top / ANNOTATIONS, top) or _in_folder(top, top)
        if files:
            return top, files
    return None


def _per_split(top: tree.Folder) -> list[tuple[str, tree.Folder, tree.Folder]]:
    """Return the annotation files in the split folders of a folder."""
    return [
        (split, file, folder)
        for split, folder in tree.split_folders(top).items()
        for name in FILES
        if (file := folder / name).is_file()
    ]


def _in_folder(folder: tree.Folder, top: tree.Folder) -> list[tuple[str, tree.Folder, tree.Folder]]:
    """Return the annotation files in a folder, for images below `top`: one, or one per split.

    COCO has several kinds of files for each split. The files of boxes are named `instances_`.
    """
    kinds: dict[str, list[tree.Folder]] = {}
    for file in few_json_files(folder) if folder.is_dir() else []:
        kinds.setdefault(SPLIT.sub(" ", Path(file.name).stem.lower()), []).append(file)
    for kind in sorted(kinds, key=lambda kind: (not kind.startswith("instances"), kind)):
        found = [file for file in kinds[kind] if kind.startswith("instances") or has_form(file, _Sections)]
        if found:
            return [(split_in(file.name) or "", file, top) for file in found]
    return []

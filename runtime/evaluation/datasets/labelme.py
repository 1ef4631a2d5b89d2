"""Data set in LabelMe's format: a JSON file with the shapes of each image, beside the image.

The file has the name of its image, and its shapes are rectangles, polygons or circles. LabelMe, AnyLabeling and
X-AnyLabeling write this format. A shape is replaced by the box around it.

Source: github.com/wkentaro/labelme, `labelme/label_file.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import msgspec

from orilla.devices.errors import DataError
from orilla.devices.names import counted, readable
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.annotated import (
    Annotated,
    AnnotatedImages,
    NamedBox,
    around,
    folders_by_split,
    stem_of,
)
from orilla.runtime.evaluation.datasets.boxed import Box
from orilla.runtime.evaluation.datasets.json_files import decode_json, has_form
from orilla.runtime.preprocessing.image_file import IMAGE_SUFFIXES

LOOKED_AT = 5
"""Number of JSON files that are opened to recognise the format."""

FOLDERS = ("json", "annotations", "labels")
"""Names of folders of JSON files beside the images, or beside a folder `images`."""


class _Shape(msgspec.Struct):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = None


class _File(msgspec.Struct, rename="camel"):
    shapes: list[_Shape]
    image_path: str
    image_height: int | None = None
    image_width: int | None = None


class LabelMe(AnnotatedImages):
    """Images with one JSON file each, which contains the shapes."""


def recognise(path: Path) -> str | None:
    """Return the reason why a folder or zip is recognised as images with LabelMe files, or None."""
    found = _found(path)
    return f"{found[0][1][0].name} has shapes and the path of its image" if found else None


def open_dataset(path: Path) -> LabelMe:
    """Open the images and JSON files in a folder or zip. They may lie inside another folder."""
    found = _found(path)
    if not found:
        msg = f"not a data set: {path} has no .json with shapes beside its images"
        raise DataError(msg)
    images = (image for split, files, folders in found for file in files for image in _image(split, file, folders))
    return LabelMe(images, path.resolve().stem)


def _image(split: str, file: tree.Folder, images: dict[str, tree.Folder]) -> Iterator[Annotated]:
    """Yield the image of a JSON file.

    A file of a different form is omitted if there is no image of its name, because it can contain a tool's settings.
    """
    if Path(file.name).stem not in images and not has_form(file, _File):
        return
    content = decode_json(file, _File)
    boxes = []
    for number, shape in enumerate(content.shapes, start=1):
        edges = _edges(shape)
        if edges is None:
            kind = f"{shape.shape_type or 'polygon'} of {counted(len(shape.points), 'point')}"
            msg = f"{file.name}, shape {number} ({readable(shape.label)}) is a {kind}: mark a rectangle or a polygon"
            raise DataError(msg)
        boxes.append(NamedBox(f"shape {number}", shape.label.strip(), edges, shape.shape_type != "rectangle"))
    size = (content.image_height, content.image_width)
    size_hw = (size[0], size[1]) if size[0] and size[1] else None
    found = images.get(Path(file.name).stem) or images.get(stem_of(content.image_path))
    name = content.image_path.replace("\\", "/") if found is None else found.name
    yield Annotated(name, found, file.name, boxes, split, size_hw)


def _edges(shape: _Shape) -> Box | None:
    """Return the box around a shape, or None if it has no area."""
    points = shape.points
    if shape.shape_type == "circle" and len(points) == 2:
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        points = [(x - radius, y - radius), (x + radius, y + radius)]
    return around(*zip(*points, strict=True)) if len(points) > 1 else None


def _found(path: Path) -> list[tuple[str, list[tree.Folder], dict[str, tree.Folder]]]:
    """Return, for each part of the data set, its split, its JSON files, and its images by name without suffix."""
    for top in tree.candidates(path):
        parts = []
        for split, folder in folders_by_split(top):
            places = [folder, *(place for name in FOLDERS if (place := folder / name).is_dir())]
            files = [file for place in places for file in tree.files(place, (".json",))]
            sources = [folder, *(place for name in ("images", "imgs", "img") if (place := folder / name).is_dir())]
            images = {Path(file.name).stem: file for place in sources for file in tree.files(place, IMAGE_SUFFIXES)}
            if images and any(has_form(file, _File) for file in files[:LOOKED_AT]):
                parts.append((split, files, images))
        if parts:
            return parts
    return []

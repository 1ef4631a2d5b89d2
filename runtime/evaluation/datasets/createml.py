"""Data set in CreateML's format: a JSON file with the boxes of each image, as Apple's tools and Roboflow write it.

The file is `_annotations.createml.json`, or any JSON file with the same structure, beside the images or in each split
folder. A box states its centre, its width and its height in pixels.

Source: developer.apple.com/documentation/createml, "Building an object detector data source".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from orilla.devices.errors import DataError
from orilla.runtime.evaluation.datasets import tree
from orilla.runtime.evaluation.datasets.annotated import (
    Annotated,
    AnnotatedImages,
    NamedBox,
    folders_by_split,
)
from orilla.runtime.evaluation.datasets.json_files import decode_json, few_json_files, has_form
from orilla.runtime.evaluation.datasets.table_images import find_image, image_places


class _Coordinates(msgspec.Struct):
    x: float
    y: float
    width: float
    height: float


class _Annotation(msgspec.Struct):
    label: str
    coordinates: _Coordinates


class _Image(msgspec.Struct):
    annotations: list[_Annotation]
    image: str = ""
    imagefilename: str = ""


class CreateML(AnnotatedImages):
    """Images with a JSON file that contains all boxes."""


def recognise(path: Path) -> str | None:
    """Return the reason why a path is recognised as images with a CreateML file, or None."""
    found = _found(path)
    return f"{found[0][1].name} lists images with labels and coordinates" if found else None


def open_dataset(path: Path) -> CreateML:
    """Open the images and boxes in a folder or zip, or a JSON file beside its images."""
    found = _found(path)
    if not found:
        msg = f"not a data set: {path} has no .json with images, annotations, labels and coordinates"
        raise DataError(msg)
    images = (image for split, file, folder in found for image in _images(split, file, folder))
    return CreateML(images, path.resolve().stem)


def _images(split: str, file: tree.Folder, folder: tree.Folder) -> Iterator[Annotated]:
    places = image_places(folder, file.name)
    for image in decode_json(file, list[_Image]):
        name = image.image or image.imagefilename
        boxes = []
        for number, one in enumerate(image.annotations, start=1):
            x, y, width, height = msgspec.structs.astuple(one.coordinates)
            edges = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            boxes.append(NamedBox(f"annotation {number}", one.label.strip(), edges))
        yield Annotated(name, find_image(places, name), file.name, boxes, split)


def _found(path: Path) -> list[tuple[str, tree.Folder, tree.Folder]]:
    """Return the split, the JSON file and the folder of the images of each part of the data set."""
    if path.is_file() and path.suffix.lower() == ".json":
        return [("", path, path.parent)] if has_form(path, list[_Image]) else []
    for top in tree.candidates(path):
        found = [
            (split, file, folder)
            for split, folder in folders_by_split(top)
            for file in few_json_files(folder)
            if has_form(file, list[_Image])
        ]
        if found:
            return found
    return []
